// SPDX-License-Identifier: MIT

//go:build linux

// Package reach follows a path with the search permission of a process.
//
// The service follows paths with permissions that the user of a server does not have. If the user could not follow a path, the
// service must not either. To open, watch or compare the file would tell the user about it. An open would also fire the
// trigger of the servers that watch the file.
//
// The mode of each directory is read through the descriptor in which the next name is looked up, so no rename or mount can come
// in between. Access control lists are not read. Files are opened with O_PATH only, which has no effect on them.
package reach

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

const (
	// maxLinks is MAXSYMLINKS of include/linux/namei.h.
	maxLinks = 40
	// maxComponents bounds the components of a path, with those of its symbolic links.
	maxComponents = 4096
	// maxDirectories bounds the descriptors that one walk holds.
	maxDirectories = 256
	// maxShown bounds the path in an error, in bytes.
	maxShown = 200
)

// DeniedError is the error for a directory that a user may not search.
type DeniedError struct {
	UID uint32
	Dir string
}

// Error names the user and the directory.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("uid %d may not search %s", e.UID, e.Dir[:min(len(e.Dir), maxShown)])
}

// From is where a path starts.
type From struct {
	// Root is a descriptor of the root directory. No path leads out of it.
	Root int
	// Dir is a descriptor of the directory from which a relative path counts; 0 is Root.
	Dir int
	// Resolve has further RESOLVE_ flags for openat2(2), such as RESOLVE_CACHED.
	Resolve uint64
	// Visit, if any, is called for each name but "..", with what was found in the directory, or why nothing was. dir is a path
	// without symbolic links. isLast says that the path ends with the name. An error of Visit ends the walk.
	Visit func(dir, name string, found selector.File, isLast bool, err error) error
}

// Follow opens the file at a path with O_PATH, if one of users may search all directories of the path. Otherwise it fails with
// a [DeniedError] for the user that got furthest. Without users it checks no permission. It does not follow symbolic links of
// a proc file system. The caller owns the descriptor.
func Follow(from From, path string, users []selector.Credentials) (int, error) {
	w := walk{from: from, users: users, checks: len(users) > 0, rest: strings.Split(path, "/")}
	defer w.close()
	if err := w.begin(path); err != nil {
		return -1, err
	}
	for range maxComponents {
		fd, err := w.step()
		if err != nil || fd >= 0 {
			return fd, err
		}
	}
	return -1, unix.ELOOP
}

type walk struct {
	from From
	// users are those that may search all directories so far.
	users  []selector.Credentials
	checks bool
	dirs   []dir
	rest   []string
	links  int
}

// dir is a directory of the path. In the last one, the next name is looked up.
type dir struct {
	fd   int
	name string
}

func (w *walk) close() {
	for _, d := range w.dirs {
		_ = unix.Close(d.fd)
	}
	w.dirs = nil
}

func (w *walk) begin(path string) error {
	at := w.from.Root
	if !strings.HasPrefix(path, "/") {
		at = cmp.Or(w.from.Dir, at)
	}
	fd, err := unix.FcntlInt(uintptr(at), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.dirs = append(w.dirs, dir{fd, ""})
	return nil
}

// step follows one component. It returns the descriptor of the file at the end of the path, or -1 before the end.
func (w *walk) step() (int, error) {
	for len(w.rest) > 0 && (w.rest[0] == "" || w.rest[0] == ".") {
		w.rest = w.rest[1:]
	}
	if len(w.rest) == 0 { // after a trailing slash, too: the directory itself
		return w.pop(), nil
	}
	name := w.rest[0]
	w.rest = w.rest[1:]
	if err := w.search(); err != nil {
		return -1, err
	}
	if name == ".." {
		return -1, w.up()
	}
	return w.enter(name)
}

// pop passes the last directory to the caller.
func (w *walk) pop() int {
	last := w.dirs[len(w.dirs)-1]
	w.dirs = w.dirs[:len(w.dirs)-1]
	return last.fd
}

// search drops the users that may not search the last directory.
func (w *walk) search() error {
	if !w.checks {
		return nil
	}
	s, err := statOf(w.dirs[len(w.dirs)-1].fd)
	if err != nil {
		return err
	}
	at := FileOf(&s)
	last := w.users[len(w.users)-1].UID
	w.users = slices.DeleteFunc(slices.Clone(w.users), func(c selector.Credentials) bool { return !c.MaySearch(at) })
	if len(w.users) == 0 {
		return &DeniedError{last, w.path()}
	}
	return nil
}

// path is the path of the last directory, as far as it is known.
func (w *walk) path() string {
	names := make([]string, len(w.dirs))
	for i, d := range w.dirs {
		names[i] = d.name
	}
	return cmp.Or(strings.Join(names, "/"), "/")
}

// up goes to the parent of the last directory. The parent of the root is the root.
func (w *walk) up() error {
	if len(w.dirs) > 1 {
		_ = unix.Close(w.pop())
		return nil
	}
	at := w.dirs[0].fd
	if same, err := sameFile(at, w.from.Root); err != nil || same {
		return err
	}
	fd, err := sys.OpenPath(at, "..", unix.O_DIRECTORY, w.from.Resolve)
	if err != nil {
		return err
	}
	w.dirs[0] = dir{fd, w.dirs[0].name + "/.."}
	return unix.Close(at)
}

func sameFile(a, b int) (bool, error) {
	s, err := statOf(a)
	t, other := statOf(b)
	return FileOf(&s).Image == FileOf(&t).Image, errors.Join(err, other)
}

// enter looks up a name in the last directory.
func (w *walk) enter(name string) (int, error) {
	fd, err := sys.OpenPath(w.dirs[len(w.dirs)-1].fd, name, unix.O_NOFOLLOW, w.from.Resolve|unix.RESOLVE_BENEATH)
	if err != nil {
		return -1, w.visit(name, selector.File{}, err)
	}
	s, err := statOf(fd)
	if err != nil {
		// fuse_getattr fails for other users, fuse_statfs does not (fs/fuse, Linux 6.12).
		if magic, _, _ := Mount(fd); magic == unix.FUSE_SUPER_MAGIC && errors.Is(err, unix.EACCES) {
			dir := w.path() + "/" + name
			err = fmt.Errorf("the FUSE mount %s admits only its own user: mount it with allow_other, or install elsewhere",
				dir[:min(len(dir), maxShown)])
		}
	}
	if err = w.visit(name, FileOf(&s), err); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	switch kind := s.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return -1, w.follow(fd)
	case kind == unix.S_IFDIR && len(w.dirs) < maxDirectories:
		w.dirs = append(w.dirs, dir{fd, name})
		return -1, nil
	case kind == unix.S_IFDIR:
		_ = unix.Close(fd)
		return -1, unix.ENAMETOOLONG
	case len(w.rest) > 0:
		_ = unix.Close(fd)
		return -1, unix.ENOTDIR
	}
	return fd, nil
}

// visit returns err, unless Visit has an error of its own.
func (w *walk) visit(name string, found selector.File, err error) error {
	if w.from.Visit == nil {
		return err
	}
	isLast := !slices.ContainsFunc(w.rest, func(part string) bool { return part != "" && part != "." })
	return cmp.Or(w.from.Visit(w.path(), name, found, isLast, err), err)
}

// follow goes on with the target of a symbolic link. It closes fd.
func (w *walk) follow(fd int) error {
	defer func() { _ = unix.Close(fd) }()
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	magic, _, err := Mount(fd)
	if err != nil {
		return err
	}
	if magic == unix.PROC_SUPER_MAGIC { // a magic link, or a link that depends on the reader
		return unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return err
	}
	target := string(buf[:n])
	if strings.HasPrefix(target, "/") {
		w.close()
		if err := w.begin("/"); err != nil {
			return err
		}
	}
	w.rest = append(strings.Split(target, "/"), w.rest...)
	if len(w.rest) > maxComponents {
		return unix.ENAMETOOLONG
	}
	return nil
}

func statOf(fd int) (unix.Statx_t, error) {
	var s unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &s)
	return s, err
}

// FileOf returns the fields of a file that decide what a user may do with it. The device number is that of stat(2).
func FileOf(s *unix.Statx_t) selector.File {
	image := selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino}
	return selector.File{Image: image, Mode: uint32(s.Mode), UID: s.Uid, GID: s.Gid}
}

// Mount returns the magic number of the file system of fd (linux/magic.h), and whether the kernel execs no program of its mount.
func Mount(fd int) (magic uint32, noExec bool, err error) {
	var s unix.Statfs_t
	err = unix.Fstatfs(fd, &s)
	return uint32(s.Type), s.Flags&unix.ST_NOEXEC != 0, err
}
