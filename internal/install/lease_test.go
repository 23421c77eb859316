// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// No other test may run at the same time: a child that it forks has the file open until its exec.
func TestCheck_OpenForWriting_IsUnready(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "file"), static().bytes())
	script := put(t, filepath.Join(dir, "script"), []byte("#!"+path+"\n"))
	must(t, os.Link(path, filepath.Join(dir, "other-name")))
	for _, name := range []string{path, filepath.Join(dir, "other-name")} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		must(t, err)
		requireUnready(t, Check(RootedPath{Path: path}), "is open for writing")
		requireUnready(t, Check(RootedPath{Path: script}), "is open for writing")
		must(t, f.Close())
		requireReady(t, Check(RootedPath{Path: path}))
	}
	// Not on overlayfs, where the test directory may be in a container: there a closed file with a writable mapping looks like any
	// other.
	shm, err := os.MkdirTemp("/dev/shm", "install-test-")
	must(t, err)
	defer func() { _ = os.RemoveAll(shm) }()
	path = put(t, filepath.Join(shm, "file"), static().bytes())
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	mapped, err := unix.Mmap(int(f.Fd()), 0, 64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	requireUnready(t, Check(RootedPath{Path: path}), "is open for writing")
	must(t, unix.Munmap(mapped))
	requireReady(t, Check(RootedPath{Path: path}))
}

// The test breaks a lease. The kernel sends SIGIO to this process, which would end it without a handler.
func TestLease_Broken_DoesNoHarm(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	f, err := os.Open(path)
	must(t, err)
	defer func() { _ = f.Close() }()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	must(t, err)
	if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("open of a leased file for writing = %d, %v, want %v", fd, err, unix.EWOULDBLOCK)
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	must(t, err)
	requireReady(t, Check(RootedPath{Path: path}))
}

// asUnprivileged runs f in a thread without root's permissions and without CAP_LEASE. The thread stays locked, and ends with f.
func asUnprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := dropPrivileges()
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

// dropPrivileges changes the calling thread only: raw system calls do not apply to the other threads.
func dropPrivileges() error {
	const nobody = 65534
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
		return errno
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // version 3 has two halves
	return unix.Capset(&header, &none[0])
}

func TestLease_Refused_RestIsChecked(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	path := put(t, filepath.Join(dir, "file"), static().bytes())
	cut := put(t, filepath.Join(dir, "cut"), static().bytes()[:100])
	hidden := filepath.Join(dir, "hidden")
	putMode(t, hidden, static().bytes(), 0o711)
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	asUnprivileged(t, func() {
		requireReady(t, NewChecker().check(RootedPath{Path: path}))
		requireUnready(t, NewChecker().check(RootedPath{Path: cut}), "is truncated")
		requireUnready(t, NewChecker().check(RootedPath{Path: hidden}), "permission denied")
		requireUnready(t, NewChecker().check(RootedPath{Path: filepath.Join(dir, "closed", "file")}), "permission denied")
		f, err := os.Open(path)
		if err == nil {
			_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
			_ = f.Close()
		}
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("a lease on the file of another user: %v: the test proves nothing", err)
		}
	})
}
