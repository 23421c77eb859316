// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// watchPoint is a directory of a path, with the names in it that decide where the path leads, or the file at its end.
type watchPoint struct {
	// names are the names of symbolic links of the path, of the file itself, and of missing entries.
	names map[string]bool
	// image is the directory or file itself, so that a replaced one is noticed.
	image selector.Image
	// hasEnd is true if the end of the path is among the names. Its content counts, too.
	hasEnd bool
	// isEnd is true if this is the file at the end, not a directory.
	isEnd bool
}

const (
	// maxLinks is MAXSYMLINKS of include/linux/namei.h.
	maxLinks = 40
	// maxSteps bounds the steps of a walk. A longer path, such as one with 2,000 components and 40 links to it, is checked every
	// 2 s and not watched.
	maxSteps = 256
)

// errPathTooLong is the error for a path that is too long to be watched.
var errPathTooLong = errors.New("the path is too long to watch")

// pathWalk is the state of a walk along a path, component by component.
type pathWalk struct {
	root   int
	checks bool
	// users are those that may search all directories so far, if checks is true.
	users     []selector.Credentials
	points    map[string]*watchPoint
	dir       string // a directory, by a path without symbolic links
	remaining []string
	links     int
}

// walkPath walks a path from the root through every symbolic link, and returns the watch points by their own paths. A walk
// ends early if an entry is missing or unreadable, or if links form a loop. The last directory is then the one in which that
// would have to change.
//
// A directory that no user may search ends the walk, too: its own mode would have to change.
func walkPath(s *inspector, path string) (map[string]*watchPoint, error) {
	w := pathWalk{root: s.root, checks: s.checks, users: s.users, points: make(map[string]*watchPoint), dir: "/", remaining: components(path)}
	w.addDir("/")
	for range maxSteps {
		if len(w.remaining) == 0 || !w.step() {
			return w.points, nil
		}
	}
	return w.points, errPathTooLong
}

// components splits a path, without empty and "." components. ".." stays: behind a symbolic link it is not the directory of
// the link.
func components(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// pathEntry is the file at one step of a path.
type pathEntry struct {
	kind   uint32 // S_IFMT of the mode
	file   selector.File
	image  selector.Image
	target string // of a symbolic link
}

// stat inspects a path without symbolic links, except for the last component.
func (w *pathWalk) stat(path string) (pathEntry, error) {
	fd, err := openBelow(w.root, path, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return pathEntry{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	s, err := statx(fd)
	if err != nil {
		return pathEntry{}, err
	}
	p := pathEntry{kind: uint32(s.Mode) & unix.S_IFMT, image: statxImage(&s)}
	p.file = selector.File{Mode: uint32(s.Mode), UID: s.Uid, GID: s.Gid}
	if p.kind == unix.S_IFLNK {
		p.target, err = readLink(fd)
	}
	return p, err
}

// statxImage returns the image, with the device number of stat(2).
func statxImage(s *unix.Statx_t) selector.Image {
	return selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino}
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
	p := w.pointFor(w.dir)
	if name == ".." {
		w.dir = filepath.Dir(w.dir) // dir has no symbolic links
		return true
	}
	full := filepath.Join(w.dir, name)
	found, err := w.stat(full)
	if err == nil && found.kind == unix.S_IFDIR && len(w.remaining) > 0 {
		if !w.search(found.file) {
			p.names[name], p.hasEnd = true, true
			return false
		}
		w.dir = full
		w.pointFor(full).image = found.image
		return true
	}
	p.names[name] = true
	if err == nil && found.kind == unix.S_IFLNK {
		return w.followLink(found.target)
	}
	p.hasEnd = true
	w.addEnd(full, found, err)
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

// addEnd adds the watch points at the end of the path.
func (w *pathWalk) addEnd(full string, found pathEntry, err error) {
	switch {
	case err == nil && found.kind == unix.S_IFREG && len(w.remaining) == 0:
		w.points[full] = &watchPoint{names: map[string]bool{"": true}, image: found.image, isEnd: true}
	case errors.Is(err, unix.ENOENT) && w.dir != "/":
		// A directory with a missing entry may be empty, and be removed itself. While another process has it open or as its working
		// directory, no event reports that (d_delete in fs/dcache.c, Linux 6.12). Its parent has the event.
		w.pointFor(filepath.Dir(w.dir)).names[filepath.Base(w.dir)] = true
	}
}

// addDir stores the image of a directory.
func (w *pathWalk) addDir(dir string) {
	if found, err := w.stat(dir); err == nil {
		w.pointFor(dir).image = found.image
	}
}

func (w *pathWalk) pointFor(dir string) *watchPoint {
	if w.points[dir] == nil {
		w.points[dir] = &watchPoint{names: make(map[string]bool)}
	}
	return w.points[dir]
}
