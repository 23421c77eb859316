// SPDX-License-Identifier: MIT

//go:build linux

// Package reach follows a path with the search permission of a process.
//
// The service follows paths with rights that the user of a server does not have. A path that the user could not follow
// must lead nowhere for the service either: to open, to watch or to compare the file would tell the user of it, and the
// open would fire the trigger of the servers that watch it.
//
// Each directory is asked for its mode through the descriptor that the next name is looked up in, so no rename or mount
// can come between. Access control lists are not asked. Nothing is opened but with O_PATH, which has no effect.
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
	// deepestLink is MAXSYMLINKS of include/linux/namei.h.
	deepestLink = 40
	// mostSteps bounds the components of a path, those of its symbolic links included.
	mostSteps = 4096
	// mostDirectories bounds the descriptors that one walk holds.
	mostDirectories = 256
	// longestShown bounds the text of a reason.
	longestShown = 200
)

// DeniedError says that a directory may not be searched.
type DeniedError struct {
	UID uint32
	Dir string
}

// Error names the directory.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("uid %d may not search %s", e.UID, e.Dir[:min(len(e.Dir), longestShown)])
}

// From is where a path begins.
type From struct {
	// Root is a descriptor of the root directory, which no path leads out of.
	Root int
	// Dir is a descriptor of the directory that a relative path counts from; 0 is Root.
	Dir int
	// Resolve has further flags for openat2, such as RESOLVE_CACHED.
	Resolve uint64
}

// Follow opens with O_PATH what a path leads to, if one of who may search all directories on the way. Otherwise it
// fails with a [DeniedError] for the last of them. Without who the search permission is not asked. A symbolic link of
// a proc file system is not followed.
func Follow(from From, path string, who []selector.Credentials) (int, error) {
	w := walk{from: from, who: who, asks: len(who) > 0, rest: strings.Split(path, "/")}
	defer w.close()
	if err := w.begin(path); err != nil {
		return -1, err
	}
	for range mostSteps {
		fd, err := w.step()
		if err != nil || fd >= 0 {
			return fd, err
		}
	}
	return -1, unix.ELOOP
}

type walk struct {
	from From
	// who are those that may search all directories so far.
	who   []selector.Credentials
	asks  bool
	dirs  []dir
	rest  []string
	links int
}

// dir is a directory on the way: the last one is that where the next name is looked up.
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

// step goes one component on. It answers with the descriptor of what the path leads to when none is left, else with -1.
func (w *walk) step() (int, error) {
	for len(w.rest) > 0 && (w.rest[0] == "" || w.rest[0] == ".") {
		if w.rest = w.rest[1:]; len(w.rest) == 0 && len(w.dirs) > 0 { // a trailing slash: the directory itself
			return w.pop(), nil
		}
	}
	if len(w.rest) == 0 {
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

// pop hands the last directory to the caller.
func (w *walk) pop() int {
	last := w.dirs[len(w.dirs)-1]
	w.dirs = w.dirs[:len(w.dirs)-1]
	return last.fd
}

// search keeps those that may search the last directory.
func (w *walk) search() error {
	if !w.asks {
		return nil
	}
	s, err := statOf(w.dirs[len(w.dirs)-1].fd)
	if err != nil {
		return err
	}
	here := selector.File{Mode: uint32(s.Mode), UID: s.Uid, GID: s.Gid}
	last := w.who[len(w.who)-1].UID
	w.who = slices.DeleteFunc(slices.Clone(w.who), func(c selector.Credentials) bool { return !c.MaySearch(here) })
	if len(w.who) == 0 {
		return &DeniedError{last, w.here()}
	}
	return nil
}

// here is the last directory, as far as its path is known.
func (w *walk) here() string {
	names := make([]string, len(w.dirs))
	for i, d := range w.dirs {
		names[i] = d.name
	}
	return cmp.Or(strings.Join(names, "/"), "/")
}

// up goes to the parent of the last directory. That of the root is the root.
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
	same := s.Ino == t.Ino && s.Dev_major == t.Dev_major && s.Dev_minor == t.Dev_minor
	return same, errors.Join(err, other)
}

// enter looks a name up in the last directory.
func (w *walk) enter(name string) (int, error) {
	fd, err := sys.OpenPath(w.dirs[len(w.dirs)-1].fd, name, unix.O_NOFOLLOW, w.from.Resolve|unix.RESOLVE_BENEATH)
	if err != nil {
		return -1, err
	}
	s, err := statOf(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	switch kind := s.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return -1, w.follow(fd)
	case kind == unix.S_IFDIR && len(w.dirs) < mostDirectories:
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

// follow goes on with the target of a symbolic link, which it closes.
func (w *walk) follow(fd int) error {
	defer func() { _ = unix.Close(fd) }()
	if w.links++; w.links > deepestLink {
		return unix.ELOOP
	}
	var mount unix.Statfs_t
	if err := unix.Fstatfs(fd, &mount); err != nil {
		return err
	}
	if mount.Type == unix.PROC_SUPER_MAGIC { // it may be a magic link, or one that says who asks
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
	if len(w.rest) > mostSteps {
		return unix.ENAMETOOLONG
	}
	return nil
}

func statOf(fd int) (unix.Statx_t, error) {
	var s unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &s)
	return s, err
}
