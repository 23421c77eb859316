// SPDX-License-Identifier: MIT

package registry

import (
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// Process is a process that was inspected, or that an earlier service had signalled.
type Process struct {
	// Server is what is reported of it, as it was last inspected.
	api.Server
	// User has the limits that it counts against.
	User selector.User
	View selector.View
	// StartedAt is when the process began, or a little before.
	StartedAt time.Time
	// Install is the one that it names; nil: none that is watched.
	Install *Install
	// InExecAt is when it was last seen inside an exec.
	InExecAt time.Time
	// ExecedOther says that it exec'd something that is no server, and may be on its way to one.
	ExecedOther bool
	// GoneSince is when an inspection found it gone, while its exit is unknown; zero: it was not.
	GoneSince time.Time
	// IsReplaced says that another process has its PID by then.
	IsReplaced bool
}

// Identity names the process.
func (p *Process) Identity() selector.Identity {
	return selector.Identity{PID: p.PID, StartTime: p.StartTime}
}

// NamesInstall reports whether a process with that verdict is a server with an install.
func NamesInstall(v selector.Verdict) bool {
	switch v {
	case selector.Outdated, selector.UpToDate, selector.NoHandler, selector.Forked, selector.UnreadyInstall:
		return true
	}
	return false
}
