// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"reflect"
	"slices"
	"sync"

	"ebpf-upgrader/selector"
)

const (
	// maxCredentials is how many different credentials are kept of the processes of one user: those seen last.
	maxCredentials = 8
	// maxGroups is how many groups of a process count: 65,536 are possible.
	maxGroups = 256
	// maxOwners limits the number of users.
	maxOwners = 1 << 16
)

// credentials keeps, for each user, the credentials of the processes that name an install. A file is inspected only if one
// of them can reach it. The zero value is ready for use; its methods may be called concurrently.
type credentials struct {
	mu      sync.Mutex
	byOwner map[selector.User][]selector.Credentials
}

// learn keeps the credentials of a process that could reach what it names.
func (c *credentials) learn(p selector.Process) {
	if p.Path == "" || p.Unreadable.Fact != "" || p.Credentials.Changed { // a setuid program has more rights than its user
		return
	}
	latest := p.Credentials
	latest.Groups = latest.Groups[:min(len(latest.Groups), maxGroups)]
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byOwner[latest.Owner]
	if len(known) > 0 && reflect.DeepEqual(known[0], latest) {
		return
	}
	if c.byOwner == nil {
		c.byOwner = make(map[selector.User][]selector.Credentials)
	}
	for owner := range c.byOwner {
		if len(c.byOwner) < maxOwners {
			break
		}
		delete(c.byOwner, owner)
	}
	// A new slice: callers of of keep the old one.
	others := slices.DeleteFunc(slices.Clone(known), func(k selector.Credentials) bool { return reflect.DeepEqual(k, latest) })
	all := append([]selector.Credentials{latest}, others...)
	c.byOwner[latest.Owner] = all[:min(len(all), maxCredentials)]
}

// of are the credentials of a user's processes. The caller must not change them.
func (c *credentials) of(owner selector.User) []selector.Credentials {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byOwner[owner]
}
