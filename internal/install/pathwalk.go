// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"path/filepath"
	"slices"

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

// maxSteps bounds the names that a walk looks up, and maxPoints the memory for a path. A path beyond them is checked every 2 s
// and not watched.
const maxSteps, maxPoints = 256, 64

// errPathTooLong is the error for a path that is too long to be watched.
var errPathTooLong = errors.New("the path is too long to watch")

// pathWalk is the state of a walk along a path, name by name.
type pathWalk struct {
	points []*watchPoint
	steps  int
}

// walkPath walks a path from the root through every symbolic link, and returns the watch points by their own paths. A walk
// ends early if an entry is missing or unreadable, or if links form a loop. The last directory is then the one in which that
// would have to change.
//
// A directory that no user may search ends the walk, too: its own mode would have to change.
func walkPath(s *inspector, path string) ([]*watchPoint, error) {
	w := pathWalk{}
	if root, err := statx(s.root); err == nil {
		w.point("/").image = reach.FileOf(&root).Image
	}
	users := s.users
	switch {
	case !s.checks:
		users = nil
	case len(users) == 0:
		return w.points, nil
	}
	fd, err := reach.Follow(reach.From{Root: s.root, Visit: w.visit}, path, users)
	if err == nil {
		_ = unix.Close(fd)
	}
	if errors.Is(err, errPathTooLong) {
		return w.points, err
	}
	if denied, isDenied := errors.AsType[*reach.DeniedError](err); isDenied && denied.Dir != "/" {
		w.points = slices.DeleteFunc(w.points, func(p *watchPoint) bool { return p.path == denied.Dir })
		w.end(filepath.Dir(denied.Dir), filepath.Base(denied.Dir))
	}
	return w.points, nil
}

// visit takes one name of the path.
func (w *pathWalk) visit(dir, name string, found selector.File, isLast bool, err error) error {
	if w.steps++; w.steps > maxSteps || len(w.points) > maxPoints {
		return errPathTooLong
	}
	full, kind := filepath.Join(dir, name), found.Mode&unix.S_IFMT
	switch {
	case err == nil && kind == unix.S_IFDIR && !isLast:
		w.point(full).image = found.Image
		return nil
	case err == nil && kind == unix.S_IFLNK:
		w.point(dir).addName(name)
		return nil
	case err == nil && kind == unix.S_IFREG && isLast:
		end := w.point(full)
		end.image, end.isEnd = found.Image, true
	case errors.Is(err, unix.ENOENT) && dir != "/":
		// A directory with a missing entry may be empty, and be removed itself. While another process has it open or as its working
		// directory, no event reports that (d_delete in fs/dcache.c, Linux 6.12). Its parent has the event.
		w.point(filepath.Dir(dir)).addName(filepath.Base(dir))
	}
	w.end(dir, name)
	return nil
}

// end notes that the path ends with a name in a directory.
func (w *pathWalk) end(dir, name string) {
	p := w.point(dir)
	p.addName(name)
	p.hasEnd = true
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
