// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// SchemaVersion is raised when a field of the answers changes its meaning or goes away.
const SchemaVersion = 3

// Status is the answer to /v1/status.
type Status struct {
	SchemaVersion int `json:"schema_version"`
	Info
	controller.Status
	// Tracker is nil where the scan is the source.
	Tracker  *Tracker `json:"tracker"`
	Gate     Gate     `json:"gate"`
	Watching Watching `json:"watching"`
	// Events is the number of the latest event.
	Events uint64 `json:"events"`
}

// Info says which process serves.
type Info struct {
	Version string       `json:"version"`
	PID     selector.PID `json:"pid"`
	Started time.Time    `json:"started"`
	// PIDNamespace is the one whose processes are served.
	PIDNamespace string `json:"pid_namespace"`
	// WatchesSignals says that the signals of other senders are seen, and theirs not doubled.
	WatchesSignals bool `json:"watches_signals"`
}

// Tracker is what the kernel's map holds and what was lost since the start. Each loss led to a scan.
type Tracker struct {
	Entries  uint32 `json:"entries"`
	Capacity uint32 `json:"capacity"`
	// Outside is how many candidates did not fit: their signals are not seen, and the gate does not cover them.
	Outside        uint32 `json:"outside"`
	LostMapFull    uint64 `json:"lost_map_full"`
	LostRingFull   uint64 `json:"lost_ring_full"`
	Missed         uint64 `json:"missed"`
	UnreadableArgs uint64 `json:"unreadable_args"`
	Resyncs        uint64 `json:"resyncs"`
	AuditMissing   uint64 `json:"audit_missing"`
	AuditExtra     uint64 `json:"audit_extra"`
}

// Watching is how the installs are watched: how many places, by how many watches of the kernel, and
// how many are looked at every few seconds instead because it refused one.
type Watching struct {
	Places    int    `json:"places"`
	Watches   int    `json:"watches"`
	Polled    int    `json:"polled"`
	Stuck     int    `json:"stuck"`
	Refused   uint64 `json:"refused"`
	Overflows uint64 `json:"overflows"`
}

// Lost is how much was lost, of any kind.
func (t Tracker) Lost() uint64 { return t.LostMapFull + t.LostRingFull + t.Missed }

// TriggerRequest is the body of /v1/trigger.
type TriggerRequest struct {
	// InstallPath, if any, must be one that the service serves.
	InstallPath string `json:"install_path"`
	// Self, if any, is to be asked after all others.
	Self selector.PID `json:"self"`
}

// Servers is the answer to /v1/servers.
type Servers struct {
	SchemaVersion int                       `json:"schema_version"`
	Servers       []controller.ServerStatus `json:"servers"`
}

// Rollouts is the answer to /v1/rollouts.
type Rollouts struct {
	SchemaVersion int              `json:"schema_version"`
	Rollouts      []rollout.Report `json:"rollouts"`
}

// problem is the answer to a request that was turned down.
type problem struct {
	Error string `json:"error"`
}
