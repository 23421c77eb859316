// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/history"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Event is one line of /v1/events. Fields that its Kind does not name are left out.
type Event struct {
	SchemaVersion int `json:"schema_version"`
	// Seq counts from 1 without gaps. It goes on after a restart of the service, and after a reboot.
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
	// FromImage is what a server ran before it was signalled.
	FromImage *selector.Image `json:"from_image,omitempty"`
	// Users are those of the servers of a rollout, at most [api.MaxRecordUsers].
	Users []uint32 `json:"users,omitempty"`
	// Counts has the servers of a rollout by state.
	Counts map[rollout.State]int `json:"counts,omitempty"`
	// Act is what a client did, and By its user: the peer of the control socket. PID is its process.
	Act string  `json:"act,omitzero"`
	By  *uint32 `json:"by,omitempty"`
	// Release is the content of a staged file, and StageState the state of its path.
	Release    string `json:"release,omitzero"`
	StageState string `json:"stage_state,omitzero"`
	// Lost is how many events before this one are not kept any more.
	Lost uint64 `json:"lost,omitzero"`
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	// EventServer: the server PID went From one State to another. It has UID, Rollout, Canary, Attempt, Detail, and as far as
	// known Path, FromImage and Image: those of its install, of what it ran, and of what is installed. The Detail of a death
	// has the exit code or the signal.
	EventServer EventKind = "server"
	// EventRollout: Rollout came into Phase, for Image at Path, with Users and Counts. Detail says why it halted, or that it was
	// superseded.
	EventRollout EventKind = "rollout"
	// EventRound: Servers were inspected for Reason, of which Planned are to be signalled. It has UID where all are of one
	// user.
	EventRound EventKind = "round"
	// EventRefused: PID was not sent the signal although it was due; Detail says why.
	EventRefused EventKind = "refused"
	// EventGate: the gate refused Count signals of Sender to PID since the last such event of the two.
	EventGate EventKind = "gate-refused"
	// EventAct: a client of the control socket did Act: one of the constants. It has By and PID, in Detail the reason that was
	// given, and Path, UID and Rollout where the act is limited to an install, to the servers of a user, to a rollout.
	EventAct EventKind = "act"
	// EventStage: the staged file of the install Path, with the content Release, came into StageState. Detail says what it waits
	// for, or how it failed.
	EventStage EventKind = "stage"
	// EventFleet: the engine of the fleet is out of reach, or reached again. Detail says which.
	EventFleet EventKind = "fleet"
	// EventTrouble: the service goes on after the error in Detail.
	EventTrouble EventKind = "trouble"
	// EventLost: Lost events before the next one are not kept any more, whatever a filter selects.
	EventLost EventKind = "lost"
)

// EventKinds lists every kind.
func EventKinds() []EventKind {
	return []EventKind{EventServer, EventRollout, EventRound, EventRefused, EventGate, EventAct, EventStage, EventFleet, EventTrouble, EventLost}
}

// The acts of an [EventAct] besides each [api.ActKind].
const (
	ActTrigger = "trigger"
	// These two are of a staged file.
	ActActivate = "activate"
	ActRollback = "rollback"
)

// eventsKept is how many events a reader can be behind. When there are more, a quarter is forgotten: those of the users with
// the most.
const eventsKept = 8192

// Feed keeps the latest events and rollouts for its readers. It is a [controller.Observer] that never blocks. Its methods
// may be called concurrently.
type Feed struct {
	mu sync.Mutex // guards the rest
	// kept are ascending by number, with gaps.
	kept    []Event
	last    uint64
	records records
	// grown is closed, and made anew, with each event.
	grown chan struct{}
	// keepEvent and keepRecord must not block.
	keepEvent  func(Event)
	keepRecord func(api.RolloutRecord)

	refusals sync.Mutex // guards reported, and is taken before mu
	reported map[route]uint64
}

// NewFeed returns a Feed without events.
func NewFeed() *Feed {
	return &Feed{grown: make(chan struct{}), keepEvent: func(Event) {}, keepRecord: func(api.RolloutRecord) {}}
}

func (f *Feed) add(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(e)
}

// maxDetail bounds the text of an event.
const maxDetail = 2048

// addLocked gives an event its number. The caller holds mu.
func (f *Feed) addLocked(e Event) Event {
	f.last++
	e.SchemaVersion, e.Seq, e.Time = api.SchemaVersion, f.last, time.Now()
	e.Detail = e.Detail[:min(len(e.Detail), maxDetail)]
	f.kept = append(f.kept, e)
	f.trim()
	close(f.grown)
	f.grown = make(chan struct{})
	f.keepEvent(e)
	return e
}

// trim forgets events if there are too many.
func (f *Feed) trim() {
	if len(f.kept) > eventsKept {
		f.kept = history.Trim(f.kept, eventsKept*3/4, func(Event) int { return 1 }, Event.User)
	}
}

// routine stands for the rounds that found nothing to do: they must not push out what happened.
const routine = history.NoUser - 1

// User accounts for an event; below 0: it concerns no user, or several.
func (e Event) User() int64 {
	switch {
	case e.Kind == EventRound && e.Planned == 0:
		return routine
	case e.UID != nil:
		return int64(*e.UID)
	case e.By != nil:
		return int64(*e.By)
	case len(e.Users) == 1:
		return int64(e.Users[0])
	}
	return history.NoUser
}

// batch is how many events are copied at a time.
const batch = 256

// from is the index of the first event with that number or a later one.
func (f *Feed) from(seq uint64) int {
	at, _ := slices.BinarySearchFunc(f.kept, seq, func(e Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return at
}

// start is the number of the first event that a reader asks for.
func (f *Feed) start(q EventQuery) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hasOther(q) {
		return f.last + 2 // which no reader of these numbers asks for
	}
	if q.Filter.Since.IsZero() {
		return q.From
	}
	at := slices.IndexFunc(f.kept, func(e Event) bool { return !e.Time.Before(q.Filter.Since) })
	switch at {
	case -1:
		return max(q.From, f.last+1)
	case 0:
		return q.From
	}
	return max(q.From, f.kept[at-1].Seq+1) // what is lost before that was too early anyway
}

// hasOther reports whether the event that a reader has seen last is another one here. The caller holds mu.
func (f *Feed) hasOther(q EventQuery) bool {
	if q.Last.IsZero() || q.From == 0 {
		return false
	}
	at := f.from(q.From - 1)
	return at < len(f.kept) && f.kept[at].Seq == q.From-1 && !f.kept[at].Time.Equal(q.Last)
}

// read returns selected events from seq on, the number to go on with, and the channel to wait on when there are none. Before
// them it tells with an [EventLost] of events that are not kept any more. For a number that does not exist yet it
// returns all.
func (f *Feed) read(seq uint64, filter EventFilter) (events []Event, next uint64, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := Event{SchemaVersion: api.SchemaVersion, Time: time.Now(), Kind: EventLost}
	if seq > f.last+1 {
		lost.Detail = "the service has restarted"
		seq = 0
	}
	seq = max(seq, 1)
	for _, e := range f.kept[f.from(seq):] {
		if len(events) == batch {
			break
		}
		lost.Lost += e.Seq - seq
		seq = e.Seq + 1
		if filter.Matches(e) {
			events = append(events, filter.shown(e))
		}
	}
	if len(events) < batch {
		lost.Lost += f.last + 1 - seq
		seq = f.last + 1
	}
	if lost.Lost > 0 || lost.Detail != "" {
		lost.Seq = seq - 1
		if len(events) > 0 {
			lost.Seq = events[0].Seq - 1
		}
		events = slices.Insert(events, 0, lost)
	}
	return events, seq, f.grown
}

// Each passes the selected events that are kept to take, until that fails.
func (f *Feed) Each(q EventQuery, take func(Event) error) error {
	for from := f.start(q); ; {
		events, next, _ := f.read(from, q.Filter)
		if len(events) == 0 {
			return nil
		}
		for _, e := range events {
			if err := take(e); err != nil {
				return err
			}
		}
		from = next
	}
}

// Last is the number of the latest event.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}
