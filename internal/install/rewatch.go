// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"reflect"

	"golang.org/x/sys/unix"
)

// maxRewatches bounds the walks while the path changes during a walk. The events of a path that changes faster are enough.
const maxRewatches = 8

// rewatch watches the points to which the path leads now. It adds watches first and walks the path again afterwards, so no
// change is missed between the two. The caller reads the file after that.
func (w *Watcher) rewatch() {
	hasLost := w.watchLost.Swap(false) || w.polled.Load()
	points, err := w.walkPath()
	if !hasLost && w.points != nil && reflect.DeepEqual(points, w.points) {
		return
	}
	for range maxRewatches {
		w.polled.Store(!w.addWatches(points) || errors.Is(err, errPathTooLong))
		w.points = points
		if points, err = w.walkPath(); reflect.DeepEqual(points, w.points) {
			return
		}
	}
}

func (w *Watcher) walkPath() (map[string]*watchPoint, error) {
	if w.rootErr != nil {
		return map[string]*watchPoint{}, w.rootErr
	}
	return walkPath(&w.inspector, w.path.Path)
}

// addWatches reports whether all points are watched.
func (w *Watcher) addWatches(points map[string]*watchPoint) bool {
	for range maxRewatches {
		generation := w.hub.notify.generation()
		added, complete := w.addAll(points)
		if w.hub.notify.replace(w, added, generation) {
			return complete
		}
	}
	return false
}

// addAll adds a watch for each point, and returns their descriptors with the names. complete is false if the kernel refused
// one.
func (w *Watcher) addAll(points map[string]*watchPoint) (added watchedNames, complete bool) {
	complete = true
	added = make(watchedNames, len(points))
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
		if added[wd] == nil { // two paths may lead to the same directory
			added[wd] = make(map[string]bool, len(p.names))
		}
		for name := range p.names {
			added[wd][name] = true
		}
	}
	return added, complete
}

func (w *Watcher) add(path string, p *watchPoint) (int32, error) {
	fd, err := openBelow(w.root, path, 0, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return w.hub.notify.add(fd, p.mask())
}

// isElsewhere reports whether a point is gone, which the next walk finds. Without read permission a directory without names
// that matter is left out, too: a rename of /home is found by the next resync.
func isElsewhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
