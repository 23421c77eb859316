// SPDX-License-Identifier: MIT

//go:build linux

package install

// removedWDs has the latest watch descriptors that the kernel removed. A watch may be removed after inotify_add_watch has
// returned it and before its listener has subscribed. The zero value is ready for use.
type removedWDs struct {
	ring  [1 << 10]int32
	count uint64
}

// add stores a descriptor that was removed, or is about to be.
func (e *removedWDs) add(wd int32) {
	e.ring[e.count%uint64(len(e.ring))] = wd
	e.count++
}

// containsAny reports whether one of these watches may have been removed since the count was since. It assumes so if too many
// have been removed to know.
func (e *removedWDs) containsAny(names watchedNames, since uint64) bool {
	if e.count-since > uint64(len(e.ring)) {
		return true
	}
	for i := since; i < e.count; i++ {
		if _, is := names[e.ring[i%uint64(len(e.ring))]]; is {
			return true
		}
	}
	return false
}
