// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Way says how to get to an installed file.
type RootedPath struct {
	// Path leads there from the root. A relative one counts from this process's working directory, and
	// only where Root is nil.
	Path string
	// Root opens the root directory that Path is resolved in, with O_PATH; the descriptor belongs to
	// who called. It fails when nobody is left who sees that root. nil is the root of this process.
	Root func() (int, error)
	// Owner is the user on whose behalf the file is looked at. A file system that does not answer, or a
	// file that never comes to rest, holds up that user's ways only.
	Owner uint32
	// Who gives the credentials of processes on whose behalf the file is looked at: one of them at least must be
	// able to search the folders on the way. Where it gives none, nothing is looked at. nil asks for no permission, as
	// for a path that the operator named.
	Credentials func() []selector.Credentials
}

// open opens the root. The caller closes it.
func (w *RootedPath) open() (int, error) {
	if w.Root != nil {
		return w.Root()
	}
	return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// absolute does not clean the path as filepath.Abs does: ".." behind a symbolic link is not the
// directory that the link lies in.
func (w RootedPath) absolute() RootedPath {
	if w.Path != "" && w.Path[0] != '/' && w.Root == nil {
		if wd, err := os.Getwd(); err == nil { // else the root is where it counts from, and nothing is found
			w.Path = wd + "/" + w.Path
		}
	}
	return w
}

// openBelow opens what stands at path below root with O_PATH. The path never leaves the root, and follows no magic link
// of /proc.
func openBelow(root int, path string, flags, resolve uint64) (int, error) {
	return sys.OpenPath(root, path, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS|resolve)
}

// reopen is a path to what fd leads to, for the system calls that want one.
func reopen(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
