// SPDX-License-Identifier: MIT

//go:build linux

package install

// endings has the latest watches of the kernel that ended. Between the moment at which somebody adds one, and
// that at which he holds it, it can end: nobody would tell him. The zero endings is ready to be used.
type endings struct {
	latest [1 << 10]int32
	count  uint64
}

// note takes the number of a watch that has just ended, or is about to.
func (e *endings) note(wd int32) {
	e.latest[e.count%uint64(len(e.latest))] = wd
	e.count++
}

// any reports whether one of held may have ended since count was what it is given as. When too many have, it is
// not known any more, and assumed.
func (e *endings) any(held map[int32]map[string]bool, since uint64) bool {
	if e.count-since > uint64(len(e.latest)) {
		return true
	}
	for i := since; i < e.count; i++ {
		if _, is := held[e.latest[i%uint64(len(e.latest))]]; is {
			return true
		}
	}
	return false
}
