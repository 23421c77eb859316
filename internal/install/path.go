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

// RootedPath is the path of an installed file, as its servers see it.
type RootedPath struct {
	// Path starts at the root. A relative path counts from the working directory of this process, and is allowed only if Root is
	// nil.
	Path string
	// Root opens the root directory for Path with O_PATH. The caller owns the descriptor. Root fails when no process has that root
	// any more. nil is the root of this process.
	Root func() (int, error)
	// Owner is the user that the work counts for. A file system that does not answer, or a file that never settles, delays paths
	// of the same owner only.
	Owner selector.User
	// Credentials returns the credentials of processes of the user. One of them must be able to search the directories of the
	// path. If there are none, no file is opened. A nil function means no check, as for a path from the operator.
	Credentials func() []selector.Credentials
	// View is the mount namespace and root of Root; zero stands for those of this process. Mounts opens the list of mounts in the
	// view, through a process that has it. The caller owns the descriptors. Without Mounts, a mount over the path in another
	// namespace is noticed after 30 s.
	View   selector.View
	Mounts func() (MountList, error)
}

// open opens the root. The caller closes it.
func (w *RootedPath) open() (int, error) {
	if w.Root != nil {
		return w.Root()
	}
	return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// absolute does not clean the path as filepath.Abs does: ".." behind a symbolic link is not the directory of the link.
func (w RootedPath) absolute() RootedPath {
	if w.Path != "" && w.Path[0] != '/' && w.Root == nil {
		if wd, err := os.Getwd(); err == nil { // on error, the path counts from the root, and leads nowhere
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

// reopen returns a path to the file of fd, for system calls that need a path.
func reopen(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
