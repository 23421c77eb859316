// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"slices"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	// UID selects the events of one user: those of the user's servers and of their rollouts, and of acts by the user or on the
	// user's servers. What they say of other users is left out.
	UID *uint32
	// Path selects the events of one install.
	Path string
	// Kinds selects these kinds; empty: all.
	Kinds []EventKind
	// Since selects the events from that time on; zero: all.
	Since time.Time
}

// Matches reports whether the filter selects an event. An [EventLost] is always selected: a reader must learn of it.
func (f EventFilter) Matches(e Event) bool {
	switch {
	case e.Kind == EventLost:
		return true
	case f.UID != nil && !concerns(e, *f.UID),
		f.Path != "" && e.Path != f.Path,
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind):
		return false
	}
	return f.Since.IsZero() || !e.Time.Before(f.Since)
}

// concerns reports whether an event is about a user.
func concerns(e Event, uid uint32) bool {
	return e.UID != nil && *e.UID == uid || e.By != nil && *e.By == uid || slices.Contains(e.Users, uid)
}

// shown is a selected event without what it says of other users than the selected one.
func (f EventFilter) shown(e Event) Event {
	if f.UID != nil && len(e.Users) > 1 {
		e.Users, e.Counts = []uint32{*f.UID}, nil
		if e.Phase == rollout.PhaseHalted {
			e.Detail = ""
		}
	}
	return e
}
