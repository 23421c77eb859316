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

// TestCheckFindsWhoeverWrites needs no parallel tests beside it: a child that they fork has the file
// open until it has exec'd.
func TestCheckFindsWhoeverWrites(t *testing.T) {
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
	// Not where the tests' folders may lie on overlayfs, as in a container: there a file that was closed
	// and is still mapped for writing is not told from others.
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

// TestALeaseThatIsBrokenDoesNoHarm breaks one for real; the kernel sends SIGIO for it to this process,
// which without a handler would be its end.
func TestALeaseThatIsBrokenDoesNoHarm(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	f, err := os.Open(path)
	must(t, err)
	defer func() { _ = f.Close() }()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	must(t, err)
	if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("opening a leased file for writing gave %d, %v, want %v", fd, err, unix.EWOULDBLOCK)
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	must(t, err)
	requireReady(t, Check(RootedPath{Path: path}))
}

// asNobody runs f in a thread that has neither root's rights on files nor CAP_LEASE. The thread ends
// with f, for it stays locked.
func asNobody(t *testing.T, f func()) {
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
		err := becomeNobody()
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

// becomeNobody concerns the calling thread only: the raw system calls are not spread to the others.
func becomeNobody() error {
	const nobody = 65534
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
		return errno
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // version 3 has two halves
	return unix.Capset(&header, &none[0])
}

func TestWithoutALeaseTheRestIsStillChecked(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	path := put(t, filepath.Join(dir, "file"), static().bytes())
	cut := put(t, filepath.Join(dir, "cut"), static().bytes()[:100])
	hidden := filepath.Join(dir, "hidden")
	putMode(t, hidden, static().bytes(), 0o711)
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	asNobody(t, func() {
		requireReady(t, check(RootedPath{Path: path}, newCache()))
		requireUnready(t, check(RootedPath{Path: cut}, newCache()), "is truncated")
		requireUnready(t, check(RootedPath{Path: hidden}, newCache()), "permission denied")
		requireUnready(t, check(RootedPath{Path: filepath.Join(dir, "closed", "file")}, newCache()), "permission denied")
		f, err := os.Open(path)
		if err == nil {
			_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
			_ = f.Close()
		}
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("a lease on the file of another user gave %v: this test proves nothing", err)
		}
	})
}
