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

// point is a place on the way to a file whose fate decides where the way leads: a directory with
// the names in it that count, or the file at the end.
type point struct {
	// names are those of symbolic links on the way, of the file itself, and of what is missing.
	names map[string]bool
	// image is the directory or file itself, so that one that took its place is noticed.
	image selector.Image
	// leaf says that the end of the way is among them, whose content counts, too.
	leaf bool
	// file says that this is no directory, but the end itself.
	file bool
}

const (
	// deepestLink is MAXSYMLINKS of include/linux/namei.h.
	deepestLink = 40
	// longestWalk is how many steps are gone at most. Whoever names a path with 2,000 components, and 40
	// links to it, has it looked at every 2 s and not watched.
	longestWalk = 256
)

// errTooLong says that a way is not watched because it does not end.
var errTooLong = errors.New("the way is too long")

// walk is the state of going along a path, component by component.
type walk struct {
	root int
	asks bool
	// who are those that may search all folders so far, where that is asked.
	who    []selector.Credentials
	points map[string]*point
	here   string // a directory, by a path without symbolic links
	rest   []string
	links  int
}

// chain walks a path from the root through every symbolic link, and gives the places that it came
// through, by their own paths. Where it ends early (something is missing or may not be read, or the
// links go round) the last directory is the one where that would have to change.
//
// A folder that the users of the way may not search ends it, too: its own mode would have to change.
func chain(s *sight, path string) (map[string]*point, error) {
	w := walk{root: s.root, asks: s.asks, who: s.who, points: make(map[string]*point), here: "/", rest: components(path)}
	w.arrive("/")
	for range longestWalk {
		if len(w.rest) == 0 || !w.step() {
			return w.points, nil
		}
	}
	return w.points, errTooLong
}

// components leaves out what means nothing. "..", which means something else behind a symbolic link
// than it seems to, stays.
func components(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// place is what stands somewhere on the way.
type place struct {
	kind   uint32 // as in st_mode
	file   selector.File
	image  selector.Image
	target string // of a symbolic link
}

// at looks at a path without symbolic links but the last.
func (w *walk) at(path string) (place, error) {
	fd, err := openBelow(w.root, path, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return place{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	s, err := statOf(fd)
	if err != nil {
		return place{}, err
	}
	p := place{kind: uint32(s.Mode) & unix.S_IFMT, image: imageOfStat(&s)}
	p.file = selector.File{Mode: uint32(s.Mode), UID: s.Uid, GID: s.Gid}
	if p.kind == unix.S_IFLNK {
		p.target, err = readLink(fd)
	}
	return p, err
}

// imageOfStat is the file that was looked at, with the device number as stat(2) gives it.
func imageOfStat(s *unix.Statx_t) selector.Image {
	return selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino}
}

func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), err
}

// step goes one component on, and reports whether there may be a next one.
func (w *walk) step() bool {
	name := w.rest[0]
	w.rest = w.rest[1:]
	p := w.point(w.here)
	if name == ".." {
		w.here = filepath.Dir(w.here) // right, because here has no links in it
		return true
	}
	full := filepath.Join(w.here, name)
	found, err := w.at(full)
	if err == nil && found.kind == unix.S_IFDIR && len(w.rest) > 0 {
		if !w.search(found.file) {
			p.names[name], p.leaf = true, true
			return false
		}
		w.here = full
		w.point(full).image = found.image
		return true
	}
	p.names[name] = true
	if err == nil && found.kind == unix.S_IFLNK {
		return w.followLink(found.target)
	}
	p.leaf = true
	w.end(full, found, err)
	return false
}

// search keeps those that may search a folder, and reports whether there are any.
func (w *walk) search(dir selector.File) bool {
	if !w.asks {
		return true
	}
	w.who = slices.DeleteFunc(slices.Clone(w.who), func(c selector.Credentials) bool { return !c.MaySearch(dir) })
	return len(w.who) > 0
}

func (w *walk) followLink(target string) bool {
	if w.links++; w.links > deepestLink {
		return false
	}
	if strings.HasPrefix(target, "/") {
		w.here = "/"
	}
	w.rest = append(components(target), w.rest...)
	return true
}

// end adds what else has to be watched at the end of the way.
func (w *walk) end(full string, found place, err error) {
	switch {
	case err == nil && found.kind == unix.S_IFREG && len(w.rest) == 0:
		w.points[full] = &point{names: map[string]bool{"": true}, image: found.image, file: true}
	case errors.Is(err, unix.ENOENT) && w.here != "/":
		// A directory that something is missing from may be empty, and go itself. Of that it gets
		// no event as long as somebody has it open or works in it (d_delete in fs/dcache.c, Linux
		// 6.12), but its parent does.
		w.point(filepath.Dir(w.here)).names[filepath.Base(w.here)] = true
	}
}

// arrive notes which directory stands there.
func (w *walk) arrive(dir string) {
	if found, err := w.at(dir); err == nil {
		w.point(dir).image = found.image
	}
}

func (w *walk) point(dir string) *point {
	if w.points[dir] == nil {
		w.points[dir] = &point{names: make(map[string]bool)}
	}
	return w.points[dir]
}
