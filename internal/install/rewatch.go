// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"hash/maphash"
	"strings"

	"golang.org/x/sys/unix"
)

var hashSeed = maphash.MakeSeed()

// rewatch watches the points to which the path leads now. It adds watches first and walks the path again afterwards: a change
// between the two leads to another rewatch. The caller reads the file after that.
func (w *Watcher) rewatch() {
	hasLost := w.watchLost.Swap(false) || w.polled.Load()
	points, hash, err := w.walkPath()
	if !hasLost && hash == w.watched {
		return
	}
	w.polled.Store(!w.watchAll(points) || errors.Is(err, errPathTooLong))
	w.watched = hash
	if _, now, _ := w.walkPath(); now != hash {
		w.onWatchLost()
	}
}

// walkPath returns the points of the path, and their hash. Only the hash is kept: the points of a thousand paths would take too
// much memory. A path that is too long has no points.
func (w *Watcher) walkPath() (points []*watchPoint, hash uint64, err error) {
	if err = w.rootErr; err == nil {
		points, err = walkPath(&w.inspector, w.path.Path)
	}
	if err != nil {
		points = nil
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for _, p := range points {
		maphash.WriteComparable(&h, p.image)
		maphash.WriteComparable(&h, p.mask())
		_, _ = h.WriteString(strings.Join(p.names, "/"))
	}
	return points, h.Sum64(), err
}

// watchAll adds a watch for each point. It reports false if the kernel refused one. At a limit it ends all watches of the
// path, so that other paths can have them.
func (w *Watcher) watchAll(points []*watchPoint) (complete bool) {
	complete = true
	all := make([]subscription, 0, len(points))
	for _, p := range points {
		wd, err := w.add(p)
		switch {
		case err == nil:
			all = p.subscribe(all, wd)
			continue
		case isElsewhere(err):
			continue
		case errors.Is(err, unix.EACCES) && len(p.names) == 0:
			continue // only a rename of the directory itself would matter, such as of /home: the next resync finds that
		}
		w.hub.notify.refused.Add(1)
		complete = false
		if errors.Is(err, errNoRoom) || errors.Is(err, unix.ENOSPC) {
			all = nil
			break
		}
	}
	w.hub.notify.replace(w, all)
	return complete
}

func (w *Watcher) add(p *watchPoint) (int32, error) {
	fd, err := openBelow(w.root, p.path, 0, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return w.hub.notify.add(w.path.Owner, fd, p.mask())
}

// subscribe adds the names of a point. It copies them: a part of a path would keep the whole path in memory.
func (p *watchPoint) subscribe(all []subscription, wd int32) []subscription {
	if len(p.names) == 0 {
		return append(all, subscription{wd: wd})
	}
	for _, name := range p.names {
		all = append(all, subscription{wd, strings.Clone(name)})
	}
	return all
}

// isElsewhere reports whether a point is gone. The next walk finds where the path leads instead.
func isElsewhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
