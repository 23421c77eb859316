// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"reflect"

	"golang.org/x/sys/unix"
)

// follows bounds how often the way is walked again when it changes while it is walked. One that
// changes faster is caught by its own events.
const follows = 8

// follow puts the watches where the way leads now. It watches first and looks then whether the way
// is still the same, so that no change falls between the two. What the caller reads of the file, it
// reads after that.
func (w *Watcher) follow() {
	lost := w.lost.Swap(false) || w.blind.Load()
	points, err := w.walk()
	if !lost && w.points != nil && reflect.DeepEqual(points, w.points) {
		return
	}
	for range follows {
		w.blind.Store(!w.watch(points) || errors.Is(err, errTooLong))
		w.points = points
		if points, err = w.walk(); reflect.DeepEqual(points, w.points) {
			return
		}
	}
}

func (w *Watcher) walk() (map[string]*point, error) {
	if w.unseen != nil {
		return map[string]*point{}, w.unseen
	}
	return chain(&w.sight, w.way.Path)
}

// watch reports whether it could watch everything that it has to.
func (w *Watcher) watch(points map[string]*point) bool {
	for range follows {
		began := w.hub.notify.begin()
		held, complete := w.addAll(points)
		if w.hub.notify.hold(w, held, began) {
			return complete
		}
	}
	return false
}

// addAll adds the watches, and reports whether it could add all that it has to.
func (w *Watcher) addAll(points map[string]*point) (held map[int32]map[string]bool, complete bool) {
	complete = true
	held = make(map[int32]map[string]bool, len(points))
	for path, p := range points {
		wd, err := w.add(path, p)
		switch {
		case err == nil:
		case isElsewhere(err), errors.Is(err, unix.EACCES) && len(p.names) == 0:
			continue
		default:
			w.hub.notify.refused.Add(1)
			complete = false
			continue
		}
		if held[wd] == nil { // two paths may lead to one directory
			held[wd] = make(map[string]bool, len(p.names))
		}
		for name := range p.names {
			held[wd][name] = true
		}
	}
	return held, complete
}

func (w *Watcher) add(path string, p *point) (int32, error) {
	fd, err := openBelow(w.root, path, 0, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return w.hub.notify.add(fd, p.mask())
}

// isElsewhere is no refusal: what is not there any more is found by the next walk. Nor is it one that
// we may search a directory and not read it, as long as no name in it matters: whether /home is
// renamed can wait for the regular look.
func isElsewhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
