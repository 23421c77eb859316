// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// point is a directory on the way to a file, with the names in it whose fate decides where the way
// leads.
type point struct {
	// names are those of symbolic links on the way, of the file itself, and of what is missing.
	names map[string]bool
	// leaf says that the file itself is among them, whose content counts, too.
	leaf bool
}

// deepestLink is MAXSYMLINKS of include/linux/namei.h.
const deepestLink = 40

// chain walks path component by component, through every symbolic link, and gives the directories
// that it came through, by their own paths. Where it ends early (something is missing or may not be
// read, or the links go round) the last directory is the one where that would have to change.
func chain(path string) map[string]*point {
	points := make(map[string]*point)
	here, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = filepath.Dir(here) // here has no links in it
			continue
		}
		p := pointAt(points, here)
		full := filepath.Join(here, name)
		info, err := os.Lstat(full)
		switch {
		case err == nil && info.IsDir() && len(rest) > 0:
			here = full
		case err == nil && info.Mode().Type() == fs.ModeSymlink:
			p.names[name] = true
			target, err := os.Readlink(full)
			if links++; err != nil || links > deepestLink {
				return points
			}
			if filepath.IsAbs(target) {
				here = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		default: // the file, or nothing to go on with
			p.names[name] = true
			p.leaf = true
			return points
		}
	}
	return points
}

func pointAt(points map[string]*point, dir string) *point {
	if points[dir] == nil {
		points[dir] = &point{names: make(map[string]bool)}
	}
	return points[dir]
}
