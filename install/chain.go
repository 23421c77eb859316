// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// point is a place on the way to a file whose fate decides where the way leads: a directory with
// the names in it that count, or the file at the end.
type point struct {
	// names are those of symbolic links on the way, of the file itself, and of what is missing.
	names map[string]bool
	// leaf says that the end of the way is among them, whose content counts, too.
	leaf bool
	// file says that this is no directory, but the end itself.
	file bool
}

// deepestLink is MAXSYMLINKS of include/linux/namei.h.
const deepestLink = 40

// walk is the state of going along a path, component by component.
type walk struct {
	points map[string]*point
	here   string // a directory, by a path without symbolic links
	rest   []string
	links  int
}

// chain walks an absolute path through every symbolic link, and gives the places that it came
// through, by their own paths. Where it ends early (something is missing or may not be read, or the
// links go round) the last directory is the one where that would have to change.
func chain(path string) map[string]*point {
	w := walk{points: make(map[string]*point), here: "/", rest: components(path)}
	for len(w.rest) > 0 && w.step() {
	}
	return w.points
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
	info, err := os.Lstat(full)
	if err == nil && info.IsDir() && len(w.rest) > 0 {
		w.here = full
		return true
	}
	p.names[name] = true
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		return w.followLink(full)
	}
	p.leaf = true
	w.end(full, info, err)
	return false
}

func (w *walk) followLink(full string) bool {
	target, err := os.Readlink(full)
	if w.links++; err != nil || w.links > deepestLink {
		return false
	}
	if filepath.IsAbs(target) {
		w.here = "/"
	}
	w.rest = append(components(target), w.rest...)
	return true
}

// end adds what else has to be watched at the end of the way.
func (w *walk) end(full string, info fs.FileInfo, err error) {
	switch {
	case err == nil && info.Mode().IsRegular() && len(w.rest) == 0:
		w.points[full] = &point{names: map[string]bool{"": true}, file: true}
	case errors.Is(err, fs.ErrNotExist) && w.here != "/":
		// A directory that something is missing from may be empty, and go itself. Of that it gets
		// no event as long as somebody has it open or works in it (d_delete in fs/dcache.c, Linux
		// 6.12), but its parent does.
		w.point(filepath.Dir(w.here)).names[filepath.Base(w.here)] = true
	}
}

func (w *walk) point(dir string) *point {
	if w.points[dir] == nil {
		w.points[dir] = &point{names: make(map[string]bool)}
	}
	return w.points[dir]
}
