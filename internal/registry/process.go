// SPDX-License-Identifier: MIT

package registry

import (
	"time"

	"ebpf-upgrader/selector"
)

// Facts are what is reported of a process, as it was last inspected.
type Facts struct {
	PID       selector.PID
	StartTime uint64
	// UID is the user that accounts for it.
	UID               uint32
	Container, Cgroup string
	WorkDir           string
	Args              []string
	// Image is what it runs, UpgradeBin the value of the upgrade variable, Target the file that this leads to.
	Image      selector.Image
	UpgradeBin string
	Target     selector.Image
	selector.Decision
}

// Identity names the process.
func (f *Facts) Identity() selector.Identity {
	return selector.Identity{PID: f.PID, StartTime: f.StartTime}
}

// Process is a process that was inspected, or that an earlier service had signalled.
type Process struct {
	Facts
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

// IsServer reports whether the process carries the name and the argument, or carried them as far as could be read.
func (p *Process) IsServer() bool {
	return p.Verdict != selector.NotOurs && p.Verdict != selector.NotMCP
}

// NamesInstall reports whether a process with that verdict is a server with an install.
func NamesInstall(v selector.Verdict) bool {
	switch v {
	case selector.Outdated, selector.UpToDate, selector.NoHandler, selector.Forked, selector.UnreadyInstall:
		return true
	}
	return false
}
