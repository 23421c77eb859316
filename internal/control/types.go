// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Status is the answer to /v1/status.
type Status struct {
	SchemaVersion int `json:"schema_version"`
	Info
	api.Status
	// Tracker is nil where the scan is the source.
	Tracker  *api.Tracker `json:"tracker"`
	Gate     api.Gate     `json:"gate"`
	Watching api.Watching `json:"watching"`
	// HistoryError says why events and rollouts are not kept for the next service, or what of an earlier one cannot be read.
	HistoryError string `json:"history_error,omitzero"`
	// StandsBy is the service that serves the servers of this one, which signals none as long as that runs; nil: there is none.
	StandsBy *Served `json:"stands_by,omitempty"`
	// Staged are the installs that are served by staged files.
	Staged []api.Staged `json:"staged,omitempty"`
	// Fleet decides when staged files are put in place; nil: an operator does.
	Fleet *api.Fleet `json:"fleet,omitempty"`
	// Events is the number of the latest event.
	Events uint64 `json:"events"`
}

// Served is a service that serves the whole host.
type Served struct {
	// PID is 0 where it is not known.
	PID selector.PID `json:"pid"`
	UID uint32       `json:"uid"`
}

// Info says which process serves.
type Info struct {
	Version string       `json:"version"`
	PID     selector.PID `json:"pid"`
	Started time.Time    `json:"started"`
	// PIDNamespace names the PID namespace of the served processes.
	PIDNamespace string `json:"pid_namespace"`
	// WatchesSignals says that the signals of other senders are seen, and theirs not doubled.
	WatchesSignals bool `json:"watches_signals"`
	// Serves says which servers are served.
	Serves api.Serves `json:"serves"`
}

// TriggerRequest is the body of /v1/trigger.
type TriggerRequest struct {
	// InstallPath, if any, must be one that the service serves.
	InstallPath string `json:"install_path"`
	// Self, if any, is to be asked after all others.
	Self selector.PID `json:"self"`
}

// Servers is the answer to /v1/servers.
type Servers struct {
	SchemaVersion int                `json:"schema_version"`
	Servers       []api.ServerStatus `json:"servers"`
}

// Rollouts is the answer to /v1/rollouts.
type Rollouts struct {
	SchemaVersion int              `json:"schema_version"`
	Rollouts      []rollout.Report `json:"rollouts"`
}

// problem is the answer to a request that was turned down.
type problem struct {
	SchemaVersion int    `json:"schema_version"`
	Error         string `json:"error"`
}

// Covered is the answer to /v1/gate.
type Covered struct {
	SchemaVersion int `json:"schema_version"`
	// Active says that there is a gate, and Covers that it refuses the servers' own signals to this process.
	Active bool `json:"active"`
	Covers bool `json:"covers"`
}
