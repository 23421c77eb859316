// SPDX-License-Identifier: MIT

package api

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Status is what a service does.
type Status struct {
	Source Source `json:"source"`
	// Learned says that the servers name the installs, and not the operator.
	Learned  bool            `json:"learned"`
	Installs []InstallStatus `json:"installs"`
	// Paused says that an operator paused the service: no server is signalled.
	Paused bool `json:"paused"`
	// PausedSince is zero, and PausedBy nil, where the service is not paused, or that is not known. PausedBy is a user, and
	// PauseReason the text that was given; it may be empty.
	PausedSince time.Time `json:"paused_since,omitzero"`
	PausedBy    *uint32   `json:"paused_by,omitempty"`
	PauseReason string    `json:"pause_reason,omitzero"`
	// PausedUsers are the users that are paused on their own, ascending.
	PausedUsers []PausedUser `json:"paused_users,omitempty"`
	// JournalError is why the journal cannot be written: no server is signalled until it can. It is tried every second.
	JournalError string `json:"journal_error,omitzero"`
	// Verdicts counts the servers by the verdict of the last inspection of each.
	Verdicts map[selector.Verdict]int `json:"verdicts"`
	// Rollouts are those under way, ascending by number.
	Rollouts []rollout.Report `json:"rollouts"`
}

// InstallStatus is one install with the file that was last reported there.
type InstallStatus struct {
	selector.Install
	// UID is the user of the servers that name it, and Container what they run in; neither means anything where the operator
	// named it.
	UID       uint32 `json:"uid"`
	Container string `json:"container"`
	// Servers is how many processes name it.
	Servers int `json:"servers"`
	// Rollout is the number of the rollout of the file that was last ready there; 0 is none.
	Rollout uint64 `json:"rollout"`
	// Deaths counts the servers that died of the file before it had settled, after signals of other senders.
	Deaths int `json:"deaths"`
}

// ServerStatus is one server as it was last inspected, and its state in the rollout.
type ServerStatus struct {
	Server
	// Rollout is nil for a server that is in no rollout.
	Rollout *rollout.Member `json:"rollout"`
	// Wait is what it waits for; absent if for nothing.
	Wait rollout.Wait `json:"wait,omitzero"`
	// Runs is what the file of its image says of itself, where the service has opened that.
	Runs selector.Build `json:"runs,omitzero"`
}

// CountVerdicts counts servers by verdict.
func CountVerdicts(servers []ServerStatus) map[selector.Verdict]int {
	counts := make(map[selector.Verdict]int)
	for i := range servers {
		counts[servers[i].Verdict]++
	}
	return counts
}

// Tracker is what the kernel's map holds and what was lost since the start. Each loss led to a resync.
type Tracker struct {
	// Entries are the processes in its map, and Capacity is how many fit.
	Entries  uint32 `json:"entries"`
	Capacity uint32 `json:"capacity"`
	// Outside is how many candidates did not fit: their signals are not seen, and the gate does not cover them.
	Outside uint32 `json:"outside"`
	// LostMapFull counts processes that did not fit, LostRingFull changes that were not told, Missed runs of the programs that
	// the kernel left out.
	LostMapFull  uint64 `json:"lost_map_full"`
	LostRingFull uint64 `json:"lost_ring_full"`
	Missed       uint64 `json:"missed"`
	// UnreadableArgs counts processes that were taken in because their arguments could not be read.
	UnreadableArgs uint64 `json:"unreadable_args"`
	// Resyncs counts scans.
	Resyncs uint64 `json:"resyncs"`
	// AuditMissing and AuditExtra are what the audits put right.
	AuditMissing uint64 `json:"audit_missing"`
	AuditExtra   uint64 `json:"audit_extra"`
}

// Lost is how much was lost, of any kind.
func (t Tracker) Lost() uint64 { return t.LostMapFull + t.LostRingFull + t.Missed }

// Watching is how the installs are watched: how many, by how many watches of the kernel, and how many are inspected
// every few seconds instead because the kernel refused a watch.
type Watching struct {
	Installs int `json:"installs"`
	Watches  int `json:"watches"`
	Polled   int `json:"polled"`
	// Stuck is how many wait for a file system that does not answer.
	Stuck     int    `json:"stuck"`
	Refused   uint64 `json:"refused"`
	Overflows uint64 `json:"overflows"`
}

// Gate is the kernel program that refuses the signals that servers send each other.
type Gate struct {
	Active bool `json:"active"`
	// Way is what its program is attached to, and Reason why there is no gate.
	Way    string `json:"way"`
	Reason string `json:"reason"`
	// Refused counts signals since the start, and Missed those that passed because a run of the program was left out.
	Refused uint64 `json:"refused"`
	Missed  uint64 `json:"missed"`
	// Latest are the refusals by sender and target, the last one first; not all.
	Latest []Refusal `json:"latest"`
}

// Refusal counts the refused signals from one process to another.
type Refusal struct {
	Sender selector.PID `json:"sender"`
	Target selector.PID `json:"target"`
	Count  uint64       `json:"count"`
	Last   time.Time    `json:"last"`
}
