// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// view is a mount namespace that only some servers and one thread of this program are in. A nil view is that of this program.
type view struct {
	work      chan func()
	namespace int
}

func newView() (*view, error) {
	v := &view{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			v.namespace, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		made <- err
		for work := range v.work {
			work()
		}
	}()
	return v, <-made
}

// do runs a function in the view.
func (v *view) do(f func() error) error {
	if v == nil {
		return f()
	}
	done := make(chan error)
	v.work <- func() { done <- f() }
	return <-done
}

// enter moves the calling thread into the view.
func (v *view) enter() error {
	if v == nil {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(v.namespace, unix.CLONE_NEWNS)
}

// newMounted makes an install in a view of its own. Its files are replaced by mounts over their folder.
func newMounted(dir, program, crash string) (*install, error) {
	v, err := newView()
	if err != nil {
		return nil, err
	}
	return (&install{dir: dir, view: v, program: program, crash: crash}).make()
}

func bind(dir, over string) error {
	return os.NewSyscallError("mount", unix.Mount(dir, over, "", unix.MS_BIND, ""))
}

// mountBackAndForth mounts another file over the folder and unmounts it, a number of times. swap returns each change. Servers
// that run the file keep the mount busy.
func (i *install) mountBackAndForth(in *testfleet.Install) (swap func() error) {
	isMounted := false
	over := filepath.Dir(i.path())
	return func() error {
		isMounted = !isMounted
		if isMounted {
			i.mounts++
			return bind(in.Dir(), over)
		}
		return os.NewSyscallError("umount", unix.Unmount(over, unix.MNT_DETACH))
	}
}
