// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/selector"
)

// watchPoint is a directory of a path, with the names in it that decide where the path leads, or the file at its end.
type watchPoint struct {
	path string // without symbolic links
	// names are the names of symbolic links of the path, of the file itself, and of missing entries.
	names []string
	// image is the directory or file itself, so that a replaced one is noticed.
	image selector.Image
	// hasEnd is true if the end of the path is among the names. Its content counts, too.
	hasEnd bool
	// isEnd is true if this is the file at the end, not a directory.
	isEnd bool
}

// Event masks. A directory of the path is watched for its own removal. If a name in it decides where the path leads, names
// are watched, too. Other events, as in a busy directory such as /tmp, cause no wake-up. The file itself is watched for
// writes, which its directory could report for all files only.
const (
	maskSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	maskNames = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	maskEnd   = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	maskFile  = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	// maskAlways has the events about a watch itself.
	maskAlways = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
)

func (p *watchPoint) mask() uint32 {
	switch {
	case p.isEnd:
		return maskFile
	case p.hasEnd:
		return maskSelf | maskNames | maskEnd
	case len(p.names) > 0:
		return maskSelf | maskNames
	}
	return maskSelf
}

const (
	// maxLinks is MAXSYMLINKS of include/linux/namei.h.
	maxLinks = 40
	// maxSteps bounds the steps of a walk, and maxPoints the memory for a path. A path beyond them is checked every 2 s and not
	// watched.
	maxSteps, maxPoints = 256, 64
)

// errPathTooLong is the error for a path that is too long to be watched.
var errPathTooLong = errors.New("the path is too long to watch")

// pathWalk is the state of a walk along a path, component by component.
type pathWalk struct {
	inspector // its users are those that may search all directories so far
	points    []*watchPoint
	dir       string // a directory, by a path without symbolic links
	remaining []string
	links     int
}

// walkPath walks a path from the root through every symbolic link, and returns the watch points by their own paths. A walk
// ends early if an entry is missing or unreadable, or if links form a loop. The last directory is then the one in which that
// would have to change.
//
// A directory that no user may search ends the walk, too: its own mode would have to change.
func walkPath(s *inspector, path string) ([]*watchPoint, error) {
	w := pathWalk{inspector: *s, dir: "/", remaining: components(path)}
	if root, _, err := w.stat("/"); err == nil {
		w.point("/").image = root.Image
	}
	for range maxSteps {
		switch {
		case len(w.points) > maxPoints:
			return w.points, errPathTooLong
		case len(w.remaining) == 0 || !w.step():
			return w.points, nil
		}
	}
	return w.points, errPathTooLong
}

// components splits a path, without empty and "." components. ".." stays: behind a symbolic link it is not the directory of
// the link.
func components(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return part == "" || part == "." })
}

// stat inspects a path without symbolic links, except for the last component: target is where that leads.
func (w *pathWalk) stat(path string) (found selector.File, target string, err error) {
	fd, err := openBelow(w.root, path, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return found, "", err
	}
	defer func() { _ = unix.Close(fd) }()
	s, err := statx(fd)
	if err == nil && s.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err = readLink(fd)
	}
	return reach.FileOf(&s), target, err
}

func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

// step goes one component on, and reports whether the walk continues.
func (w *pathWalk) step() bool {
	name := w.remaining[0]
	w.remaining = w.remaining[1:]
	p := w.point(w.dir)
	if name == ".." {
		w.dir = filepath.Dir(w.dir) // dir has no symbolic links
		return true
	}
	full := filepath.Join(w.dir, name)
	found, target, err := w.stat(full)
	kind := found.Mode & unix.S_IFMT
	if err == nil && kind == unix.S_IFDIR && len(w.remaining) > 0 && w.search(found) {
		w.dir = full
		w.point(full).image = found.Image
		return true
	}
	p.addName(name)
	switch {
	case err == nil && kind == unix.S_IFLNK:
		return w.followLink(target)
	case err == nil && kind == unix.S_IFREG && len(w.remaining) == 0:
		end := w.point(full)
		end.image, end.isEnd = found.Image, true
	case errors.Is(err, unix.ENOENT) && w.dir != "/":
		// A directory with a missing entry may be empty, and be removed itself. While another process has it open or as its working
		// directory, no event reports that (d_delete in fs/dcache.c, Linux 6.12). Its parent has the event.
		w.point(filepath.Dir(w.dir)).addName(filepath.Base(w.dir))
	}
	p.hasEnd = true
	return false
}

// search drops the users that may not search a directory, and reports whether any are left.
func (w *pathWalk) search(dir selector.File) bool {
	if !w.checks {
		return true
	}
	w.users = slices.DeleteFunc(slices.Clone(w.users), func(c selector.Credentials) bool { return !c.MaySearch(dir) })
	return len(w.users) > 0
}

func (w *pathWalk) followLink(target string) bool {
	if w.links++; w.links > maxLinks {
		return false
	}
	if strings.HasPrefix(target, "/") {
		w.dir = "/"
	}
	w.remaining = append(components(target), w.remaining...)
	return true
}

// point returns the point at a path, which it adds if there is none.
func (w *pathWalk) point(path string) *watchPoint {
	for _, p := range w.points {
		if p.path == path {
			return p
		}
	}
	p := &watchPoint{path: path}
	w.points = append(w.points, p)
	return p
}

func (p *watchPoint) addName(name string) {
	if !slices.Contains(p.names, name) {
		p.names = append(p.names, name)
	}
}
