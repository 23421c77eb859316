// SPDX-License-Identifier: MIT

//go:build linux

package sys

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ResolveCached is RESOLVE_CACHED of include/uapi/linux/openat2.h, since Linux 5.12 (commit 99668f618062): the lookup
// fails with EAGAIN unless the kernel has the whole path cached. Older kernels fail with EINVAL.
const ResolveCached = 0x20

// maxRetries bounds the retries of a lookup of ".." that raced with a rename or a mount anywhere on the host. openat2(2)
// fails with EAGAIN then, and each install is a rename.
const maxRetries = 16

// OpenPath opens name below dir with O_PATH, which has no effect on the file. flags are added to O_PATH and O_CLOEXEC;
// resolve has the RESOLVE_ flags of openat2(2). The caller owns the descriptor.
//
// OpenPath retries after EINTR, which a slow file system returns on a signal: the Go runtime signals its own threads
// often. It retries after EAGAIN, except with [ResolveCached].
func OpenPath(dir int, name string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: resolve}
	for try := 1; ; try++ {
		fd, err := unix.Openat2(dir, name, &how)
		raced := errors.Is(err, unix.EAGAIN) && resolve&ResolveCached == 0 && try < maxRetries
		if !raced && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// ErrorText returns the system's text of the errno that err wraps, without the operations and paths around it. For any
// other error it returns err.Error().
func ErrorText(err error) string {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
