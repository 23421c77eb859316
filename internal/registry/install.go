// SPDX-License-Identifier: MIT

package registry

import (
	"iter"
	"maps"
	"sync/atomic"
	"time"

	"ebpf-upgrader/selector"
)

// Key names an install: a path, as it leads in a mount view, on behalf of a user. The zero View and the zero Owner are those
// of an install that the operator named.
type Key struct {
	View  selector.View
	Path  string
	Owner selector.User
}

// KeyOf is the install that a process names. It is without a path where that cannot be told.
func KeyOf(p selector.Process) Key { return Key{p.View, p.Path, p.Credentials.Owner} }

// isNamedBy reports whether a process names an install that the operator named for a view, by the same path. Where the process
// would exec another file than the reported one, that has just changed.
func (k Key) isNamedBy(p selector.Process, view selector.View) bool {
	return p.Path == k.Path && p.View == view && p.Target.Known()
}

// Install is an install with what is known of it.
type Install struct {
	Key
	// File is what was last reported there. Before, it is unready.
	File selector.Install
	// ReportedAt is when that was; zero: not yet.
	ReportedAt time.Time
	// CheckedAt is when a worker last found File to be still there and ready, in ns since 1970. There is one for each report.
	CheckedAt *atomic.Int64
	// IsHeld says that its processes are to be inspected before any is signalled.
	IsHeld bool

	members map[selector.PID]*Process
	// counted is the file that the limit of its user counts.
	counted selector.Image
	// emptySince is when the last process of it went.
	emptySince time.Time
}

// ReasonUnreported is the detail of a file that was not reported yet.
const ReasonUnreported = "has not been inspected yet"

func newInstall(key Key, now time.Time) *Install {
	return &Install{
		Key: key, File: selector.Install{Path: key.Path, State: selector.StateUnready, Detail: ReasonUnreported},
		CheckedAt: new(atomic.Int64), members: make(map[selector.PID]*Process), emptySince: now,
	}
}

// IsReady reports whether the file can be exec'd.
func (i *Install) IsReady() bool { return i.File.State == selector.StateReady }

// MaySignal reports whether processes of the install may be signalled. That of no install may not.
func (i *Install) MaySignal() bool { return i != nil && i.IsReady() && !i.IsHeld }

// Len is how many processes name the install.
func (i *Install) Len() int { return len(i.members) }

// Members are the processes that name the install, in no order.
func (i *Install) Members() iter.Seq[*Process] { return maps.Values(i.members) }
