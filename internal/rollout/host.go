// SPDX-License-Identifier: MIT

package rollout

import (
	"maps"
	"slices"
)

// IsSettled reports whether no server is left that will be signalled or followed soon. A server that stays on its image is
// signalled again after the retry time, and is not waited for.
func (r Report) IsSettled() bool {
	active := r.Servers[Pending] + r.Servers[Signalled] + r.Servers[Settling]
	return r.Phase.IsOver() || active == 0 && r.Servers[TimedOut] > 0
}

// FailedHere says why a release failed on this host as a whole; empty: it has not. It has where the rollout is halted for all
// users with servers, or for two users by late crashes. One user of several cannot bring that about.
func (r Report) FailedHere() string {
	isHalted, late := make(map[uint32]bool), make(map[uint32]bool)
	for _, h := range r.Halts {
		isHalted[h.UID] = true
		if h.IsLate {
			late[h.UID] = true
		}
	}
	isFree := func(uid uint32) bool { return !isHalted[uid] }
	switch {
	case len(r.Halts) == 0:
		return ""
	case r.IsHaltedForAll, len(late) >= 2, !slices.ContainsFunc(slices.Collect(maps.Keys(r.ByUser)), isFree):
		return r.Halts[0].Reason
	}
	return ""
}
