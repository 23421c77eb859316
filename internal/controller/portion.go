// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/selector"
)

const (
	// portion is for how long the processes of one user may keep one look at many from the others, on all cores
	// together.
	portion = 500 * time.Millisecond
	// usual is what a look takes that keeps it from nobody: how many a user has is bounded.
	usual = 200 * time.Microsecond
)

// portions says of whom there is time to look at more in one look at many. It is safe for concurrent use.
type portions struct {
	// of says whose a process is, which is asked only when somebody's portion is used up.
	of func(selector.PID) (selector.Identity, uint32, error)
	// full says that somebody's is.
	full atomic.Bool

	mu    sync.Mutex // guards the rest
	spent map[uint32]time.Duration
	left  []left
}

// left is a process that was not looked at, because its user had used up his portion.
type left struct {
	selector.Identity
	user uint32
}

// putOff is why.
const putOff = "its user has too many that are slow to be read"

// look looks at a process unless its user's portion is used up.
func (p *portions) look(pid selector.PID, look func(selector.PID) view) (v view) {
	user := uint32(nobody)
	if p.full.Load() {
		id, owner, err := p.of(pid)
		if err == nil && p.uses(owner, 0) {
			p.leave(left{id, owner})
			return view{}
		}
		if err == nil {
			user = owner
		}
	}
	v = look(pid)
	if v.process.StartTime != 0 && v.decision.Verdict != selector.Gone {
		user = v.process.Credentials.Owner
	}
	if p.uses(user, max(0, v.took-usual)) { // once that is nobody's, everybody is asked for before he is looked at
		p.full.Store(true)
	}
	return v
}

// uses notes what was spent on a user's, and reports whether it was his portion.
func (p *portions) uses(user uint32, took time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spent == nil {
		p.spent = make(map[uint32]time.Duration)
	}
	p.spent[user] += took
	return p.spent[user] > portion
}

func (p *portions) leave(l left) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = append(p.left, l)
}

// view is what is seen of one that was left.
func (l left) view() view {
	v := view{decision: selector.Decision{Verdict: selector.UnreadableFacts, Detail: putOff, Stale: true}}
	v.process.Identity, v.process.Credentials.Owner = l.Identity, l.user
	v.process.Unreadable = selector.Unreadable{Fact: selector.FactCmdline, Why: putOff, IsTemporary: true}
	return v
}

// withLeft adds those who were left to the views of the others, ascending by PID.
func withLeft(views []view, left []left) []view {
	if len(left) == 0 {
		return views
	}
	all := slices.Clone(views)
	for _, l := range left {
		all = append(all, l.view())
	}
	slices.SortFunc(all, func(a, b view) int { return cmp.Compare(a.process.PID, b.process.PID) })
	return all
}
