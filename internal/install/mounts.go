// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mountsInterval is the minimum time between two checks of all paths after mounts have changed.
const mountsInterval = time.Second

// watchMounts calls changed after each change of the mounts in the mount namespace of this process, at most once per interval.
// It keeps no other namespace, and no mount. The caller closes the result. It is nil if the kernel refuses a file.
//
// A thread waits, because the kernel reports each change once for an open file (mounts_poll in fs/proc_namespace.c, Linux 6.18):
// the poller of the runtime would take it. So the file is no os.File either.
func watchMounts(changed func()) (stop *os.File) {
	info, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	read, stop, err := os.Pipe()
	if err != nil {
		_ = unix.Close(info)
		return nil
	}
	go func() {
		defer func() { _, _ = unix.Close(info), read.Close() }()
		fds := []unix.PollFd{{Fd: int32(info), Events: unix.POLLPRI}, {Fd: int32(read.Fd())}}
		for fds[1].Revents == 0 {
			n, err := unix.Poll(fds, -1)
			if err == nil && n > 0 && fds[0].Revents != 0 {
				changed()
				_, _ = unix.Poll(fds[1:], int(mountsInterval/time.Millisecond))
			}
		}
	}()
	return stop
}
