// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os/user"
	"strconv"
	"sync"
)

// maxUserNames limits the names that are kept. Beyond it, users are numbers.
const maxUserNames = 4096

// userNames are the names of users. A file system may hold up the lookup of a name for any time, so a goroutine makes it,
// and a user has a number until then. Its methods may be called concurrently.
type userNames struct {
	mu    sync.Mutex // guards names
	names map[uint32]string
}

func newUserNames() *userNames { return &userNames{names: make(map[uint32]string)} }

// of is the name of a user as far as it is known by now, or else the number with "uid" before it.
func (n *userNames) of(uid uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, isKnown := n.names[uid]
	if isKnown {
		return name
	}
	number := strconv.FormatUint(uint64(uid), 10)
	name = "uid " + number
	if len(n.names) < maxUserNames {
		n.names[uid] = name
		go n.look(uid, number)
	}
	return name
}

func (n *userNames) look(uid uint32, number string) {
	found, err := user.LookupId(number)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[uid] = found.Username
}
