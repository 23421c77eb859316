// SPDX-License-Identifier: MIT

package cli

import (
	"reflect"
	"slices"
	"sync"

	"ebpf-upgrader/selector"
)

const (
	// mostRights is how many different credentials are kept of the processes of one user: those seen last.
	mostRights = 8
	// mostGroups is how many groups of a process count: 65,536 are possible.
	mostGroups = 256
	// mostOwners bounds the users of whom credentials are kept.
	mostOwners = 1 << 16
)

// rightsOf has the credentials of each user's processes that name an install: a file is looked at only if one of them
// can reach it. The zero value is ready for use, by many at the same time.
type rightsOf struct {
	mu  sync.Mutex
	all map[uint32][]selector.Credentials
}

// learn notes the credentials of a process that could reach what it names.
func (r *rightsOf) learn(p selector.Process) {
	if p.Path == "" || p.Unreadable.Fact != "" || p.Credentials.Changed { // a setuid program has more than its user
		return
	}
	c := p.Credentials
	c.Groups = c.Groups[:min(len(c.Groups), mostGroups)]
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.all[c.Owner]
	if len(known) > 0 && reflect.DeepEqual(known[0], c) {
		return
	}
	if r.all == nil {
		r.all = make(map[uint32][]selector.Credentials)
	}
	for owner := range r.all {
		if len(r.all) < mostOwners {
			break
		}
		delete(r.all, owner)
	}
	// Those that have it already keep the slice that they were given.
	others := slices.DeleteFunc(slices.Clone(known), func(k selector.Credentials) bool { return reflect.DeepEqual(k, c) })
	all := append([]selector.Credentials{c}, others...)
	r.all[c.Owner] = all[:min(len(all), mostRights)]
}

// of are the credentials of a user's processes.
func (r *rightsOf) of(owner uint32) []selector.Credentials {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[owner]
}
