// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Event is one line of /v1/events. Fields that its Kind does not name are left out.
type Event struct {
	SchemaVersion int `json:"schema_version"`
	// Seq counts from 1 without gaps since the service started.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Kind EventKind `json:"kind"`

	PID     selector.PID    `json:"pid,omitzero"`
	UID     *uint32         `json:"uid,omitempty"`
	From    *rollout.State  `json:"from,omitempty"`
	State   *rollout.State  `json:"state,omitempty"`
	ByOther bool            `json:"by_other,omitzero"`
	Canary  bool            `json:"canary,omitzero"`
	Attempt int             `json:"attempt,omitzero"`
	Rollout uint64          `json:"rollout,omitzero"`
	Phase   rollout.Phase   `json:"phase,omitzero"`
	Image   *selector.Image `json:"image,omitempty"`
	Path    string          `json:"path,omitzero"`
	Reason  api.Reason      `json:"reason,omitzero"`
	Servers int             `json:"servers,omitzero"`
	Planned int             `json:"planned,omitzero"`
	Detail  string          `json:"detail,omitzero"`
	Sender  selector.PID    `json:"sender,omitzero"`
	Count   uint64          `json:"count,omitzero"`
	// Act is what a client did, and By its user: the peer of the control socket. PID is its process.
	Act string  `json:"act,omitzero"`
	By  *uint32 `json:"by,omitempty"`
	// Lost is how many events before this one are not kept any more.
	Lost uint64 `json:"lost,omitzero"`
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	// EventServer: the server PID went From one State to another. It has UID, Rollout, Canary, Attempt, Detail.
	EventServer EventKind = "server"
	// EventRollout: Rollout came into Phase, for Image at Path; superseded if Detail says so.
	EventRollout EventKind = "rollout"
	// EventRound: Servers were inspected for Reason, of which Planned are to be signalled.
	EventRound EventKind = "round"
	// EventRefused: PID was not sent the signal although it was due; Detail says why.
	EventRefused EventKind = "refused"
	// EventGate: the gate refused Count signals of Sender to PID since the last such event of the two.
	EventGate EventKind = "gate-refused"
	// EventAct: a client of the control socket did Act: one of the constants. It has By and PID, in Detail the reason that was
	// given, and Path, UID and Rollout where the act is limited to an install, to the servers of a user, to a rollout.
	EventAct EventKind = "act"
	// EventTrouble: the service goes on after the error in Detail.
	EventTrouble EventKind = "trouble"
	// EventLost: the reader was too slow, or asked for what is not kept any more.
	EventLost EventKind = "lost"
)

// EventKinds lists every kind.
func EventKinds() []EventKind {
	return []EventKind{EventServer, EventRollout, EventRound, EventRefused, EventGate, EventAct, EventTrouble, EventLost}
}

// The acts of an [EventAct].
const (
	ActTrigger = "trigger"
	ActPause   = "pause"
	ActResume  = "resume"
	ActAbandon = "abandon"
)

// eventsKept is how many events a reader can be behind.
const eventsKept = 8192

// Feed keeps the latest events for its readers. It is a [controller.Observer] that never blocks. Its methods may be called
// concurrently.
type Feed struct {
	mu   sync.Mutex // guards the rest
	ring []Event
	last uint64
	// grown is closed, and made anew, with each event.
	grown chan struct{}

	refusals sync.Mutex // guards reported, and is taken before mu
	reported map[route]uint64
}

// NewFeed returns a Feed without events.
func NewFeed() *Feed { return &Feed{grown: make(chan struct{})} }

func (f *Feed) add(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e.SchemaVersion, e.Seq, e.Time = api.SchemaVersion, f.last, time.Now()
	if len(f.ring) < eventsKept {
		f.ring = append(f.ring, e)
	} else {
		f.ring[(f.last-1)%eventsKept] = e
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

// batch is how many events are copied at a time.
const batch = 256

// read returns events from seq on, and the channel to wait on when there are none. For a number that is not kept any more,
// or does not exist yet, it returns an [EventLost] and the oldest events.
func (f *Feed) read(seq uint64) (events []Event, next uint64, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.last - uint64(len(f.ring)) + 1
	if seq < oldest || seq > f.last+1 {
		lost := Event{SchemaVersion: api.SchemaVersion, Seq: oldest - 1, Time: time.Now(), Kind: EventLost}
		if seq < oldest {
			lost.Lost = oldest - max(seq, 1)
		} else {
			lost.Detail = "the service has restarted"
		}
		if seq != 0 || oldest > 1 { // 0 asks for all that is kept
			events = append(events, lost)
		}
		seq = oldest
	}
	for ; seq <= f.last && len(events) < batch; seq++ {
		events = append(events, f.ring[(seq-1)%eventsKept])
	}
	return events, seq, f.grown
}

// Since returns the events from number seq on that are kept.
func (f *Feed) Since(seq uint64) (all []Event) {
	for {
		events, next, _ := f.read(seq)
		if len(events) == 0 {
			return all
		}
		all, seq = append(all, events...), next
	}
}

// Last is the number of the latest event.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Round implements [controller.Observer].
func (f *Feed) Round(reason api.Reason, r api.Report, _ time.Duration) {
	if reason == api.ReasonServer && len(r.Plan) == 0 {
		return // an inspection of a server that has just started
	}
	e := Event{Kind: EventRound, Reason: reason, Servers: len(r.Servers), Planned: len(r.Plan)}
	if len(r.Installs) == 1 {
		e.Detail = r.Installs[0].Detail
	}
	f.add(e)
}

// Rollout implements [controller.Observer].
func (f *Feed) Rollout(r rollout.Report) {
	e := Event{Kind: EventRollout, Rollout: r.Number, Phase: r.Phase, Image: &r.Install.Image, Path: r.Install.Path}
	if r.Superseded {
		e.Detail = "superseded"
	}
	f.add(e)
}

// Moved implements [controller.Observer].
func (f *Feed) Moved(m rollout.Member, from rollout.State) {
	f.add(Event{
		Kind: EventServer, PID: m.PID, UID: &m.UID, From: &from, State: &m.State,
		ByOther: m.ByOther, Canary: m.Canary, Attempt: m.Attempts, Rollout: m.Rollout, Detail: m.Detail,
	})
}

// Refused implements [controller.Observer].
func (f *Feed) Refused(m rollout.Member, err error) {
	f.add(Event{Kind: EventRefused, PID: m.PID, UID: &m.UID, Detail: err.Error()})
}

// Acted adds the event of an act. e has the fields that [EventAct] names.
func (f *Feed) Acted(e Event) {
	e.Kind = EventAct
	f.add(e)
}

// Trouble implements [controller.Observer].
func (f *Feed) Trouble(err error) { f.add(Event{Kind: EventTrouble, Detail: err.Error()}) }
