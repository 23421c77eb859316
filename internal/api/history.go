// SPDX-License-Identifier: MIT

package api

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// RolloutRecord is what is kept of a rollout, also after its end and after a reboot.
type RolloutRecord struct {
	Number uint64 `json:"number"`
	// Install is the file that was rolled out, as it was when it was found.
	Install selector.Install `json:"install"`
	Started time.Time        `json:"started"`
	// Ended is when the last server reached its outcome, or another file was installed; zero: the rollout goes on, or the
	// machine or the service ended before it did.
	Ended time.Time `json:"ended,omitzero"`
	// Current says that the service still has this rollout.
	Current bool `json:"current"`
	// Phase is the last one.
	Phase rollout.Phase `json:"phase"`
	// Superseded says that another file was installed after it.
	Superseded bool `json:"superseded"`
	// Users are those of the servers, at most [MaxRecordUsers], in the order in which they were found.
	Users []uint32 `json:"users"`
	// From is what the servers ran before, at most [MaxRecordImages].
	From []selector.Binary `json:"from"`
	// Servers counts the servers by state.
	Servers map[rollout.State]int `json:"servers"`
	// Deaths are the first deaths, at most [MaxRecordDeaths]. Servers counts all.
	Deaths []DeathRecord `json:"deaths"`
	// Halts are the reasons why servers are not signalled any more, at most [MaxRecordDeaths].
	Halts []rollout.Halt `json:"halts"`
	// Seq is the number of the last event that is part of this record.
	Seq uint64 `json:"seq"`
}

// The bounds of a [RolloutRecord].
const (
	MaxRecordUsers  = 64
	MaxRecordImages = 8
	MaxRecordDeaths = 32
)

// DeathRecord is the death of a server in a rollout.
type DeathRecord struct {
	Time   time.Time    `json:"time"`
	PID    selector.PID `json:"pid"`
	UID    uint32       `json:"uid"`
	Canary bool         `json:"canary"`
	// ByOther says that another sender had signalled the server last.
	ByOther bool `json:"by_other"`
	// Detail says how it ended: the exit code or the signal.
	Detail string `json:"detail"`
}
