// SPDX-License-Identifier: MIT

package stage

import (
	"errors"
	"fmt"
	"time"
)

// Record is what is kept of one staged path. The state file has its JSON form.
type Record struct {
	Path string `json:"path"`
	// Release is what is staged, or was put in place; empty in [Idle].
	Release Release `json:"release,omitzero"`
	State   State   `json:"state"`
	// Since is when it came into State.
	Since time.Time `json:"since"`
	// Why says what it waits for, on what grounds it may be put in place, or how it failed.
	Why string `json:"why,omitzero"`
	// IsAsked says that an operator activated Release, so that the gate is not asked.
	IsAsked bool `json:"asked,omitzero"`
	// Bake is how long the release bakes.
	Bake time.Duration `json:"bake,omitzero"`
	// Until is the end of [Baking].
	Until time.Time `json:"until,omitzero"`
	// IsRolledBack says that the file before is in place again, or is to be put there.
	IsRolledBack bool `json:"rolled_back,omitzero"`
	// Owed is what the gate must still be told; nil: nothing.
	Owed *Owed `json:"owed,omitempty"`
}

// Owed is what a gate must be told of a release: an outcome, or why it failed.
type Owed struct {
	Release Release `json:"release"`
	Outcome Outcome `json:"outcome,omitzero"`
	Failed  string  `json:"failed,omitzero"`
}

// Files are the releases at the two paths; empty: there is none, or it may not be used.
type Files struct{ Staged, Installed Release }

// Progress is how far the rollout of an installed file has come.
type Progress struct {
	// IsSettled says that no server is left to be signalled or followed at present.
	IsSettled bool
	// Upgraded counts the servers that live on the new file.
	Upgraded int
	// Failed says why the release failed on this host; empty: it has not.
	Failed string
}

// Machine is the state machine of one staged path. It is pure: facts and times in. It belongs to one goroutine. The caller
// keeps the Record after each change, before it acts on it.
type Machine struct{ Record }

// New returns a machine from what was kept; the zero Record of a path that is new.
func New(kept Record) *Machine {
	if kept.State == "" {
		kept.State = Idle
	}
	return &Machine{kept}
}

func (m *Machine) to(s State, why string, now time.Time) {
	m.State, m.Why, m.Since, m.Until = s, why, now, time.Time{}
}

// want begins to want a release, or nothing.
func (m *Machine) want(r Release, now time.Time) {
	m.Release, m.IsAsked, m.Bake, m.IsRolledBack = r, false, 0, false
	if r == "" {
		m.to(Idle, "", now)
		return
	}
	m.to(Wanted, "", now)
}

// next is what a path without a release under way wants.
func (f Files) next() Release {
	if f.Staged == f.Installed {
		return ""
	}
	return f.Staged
}

// Found takes the files as they are now. Everything follows from them, whatever happened since the last call.
func (m *Machine) Found(f Files, now time.Time) {
	isPlaced, isOther := f.Installed == m.Release, f.Staged != m.Release && f.next() != ""
	switch m.State {
	case Idle:
		if f.next() != "" {
			m.want(f.next(), now)
		}
	case Wanted:
		if f.next() != m.Release {
			m.want(f.next(), now)
		}
	case Seated:
		switch {
		case isPlaced: // killed before that was noted
			m.to(Activated, m.Why, now)
		case f.Staged != m.Release:
			m.owe(Nothing)
			m.want(f.next(), now)
		}
	case Activated:
		if !isPlaced { // another file was installed: it is upgraded to as ever
			m.owe(Nothing)
			m.want(f.next(), now)
		}
	case Baking, Proven:
		if isOther || !isPlaced {
			m.want(f.next(), now)
		}
	case Failed:
		if isOther || !isPlaced && f.Staged != m.Release {
			m.want(f.next(), now)
		}
	}
}

func (m *Machine) owe(o Outcome) { m.Owed = &Owed{Release: m.Release, Outcome: o} }

// Told notes that the gate has been told what was owed.
func (m *Machine) Told() { m.Owed = nil }

// ErrFailed means that a release failed on this host, and is not activated again.
var ErrFailed = errors.New("the staged release failed on this host")

// Activate takes an operator's word that the staged release may be put in place. It does nothing for one that is in place.
func (m *Machine) Activate(bake time.Duration, now time.Time) error {
	switch m.State {
	case Wanted:
		m.IsAsked, m.Bake, m.Why = true, bake, ""
	case Failed:
		return fmt.Errorf("%w: %s", ErrFailed, m.Why)
	case Seated:
		m.IsAsked, m.Bake = true, bake
	case Activated:
		m.Bake = bake
	case Baking:
		m.Bake, m.Until = bake, now.Add(bake)
	}
	return nil
}

// Seat notes that the file may be put in place, by the gate or by an operator, and on what grounds.
func (m *Machine) Seat(bake time.Duration, why string, now time.Time) {
	if m.State == Wanted {
		m.Bake = bake
		m.to(Seated, why, now)
	}
}

// Unseat notes that the seat was taken away before the file was put in place, and what it waits for now.
func (m *Machine) Unseat(why string, now time.Time) {
	if m.State == Seated {
		m.to(Wanted, why, now)
	}
}

// Wait says what a wanted release waits for. An operator's word counts no longer.
func (m *Machine) Wait(why string) {
	if m.State == Wanted {
		m.Why, m.IsAsked = why, false
	}
}

// Placed takes the result of [Place].
func (m *Machine) Placed(err error, now time.Time) {
	switch {
	case m.State != Seated:
	case err == nil:
		m.to(Activated, m.Why, now)
	default:
		m.owe(Nothing)
		m.IsAsked = false
		m.to(Wanted, "not put in place: "+err.Error(), now)
	}
}

// Progressed takes how far the rollout of the installed file has come, and the time.
func (m *Machine) Progressed(p Progress, now time.Time) {
	switch {
	case m.State != Activated && m.State != Baking && (m.State != Failed || m.IsRolledBack):
	case p.Failed != "" && m.State != Failed:
		m.to(Failed, p.Failed, now)
		m.Owed = &Owed{Release: m.Release, Failed: p.Failed}
	case p.Failed == "" && p.IsSettled && m.State != Baking: // also after an operator resumed a failed one
		outcome := Nothing
		if p.Upgraded > 0 {
			outcome = Upgraded
		}
		m.to(Baking, "", now)
		m.Until = now.Add(m.Bake)
		m.owe(outcome)
	}
	if m.State == Baking && !now.Before(m.Until) {
		m.to(Proven, "", now)
	}
}

// RollBack takes that the file before is to be put back, for the reason why. The caller keeps that, and then calls [Restore]
// as long as [Machine.MustRestore] says so.
func (m *Machine) RollBack(why string, now time.Time) {
	switch m.State {
	case Activated, Baking, Proven:
		m.to(Failed, why, now)
		m.Owed = &Owed{Release: m.Release, Failed: why}
	case Failed:
	default:
		return
	}
	m.IsRolledBack = true
}

// MustRestore reports whether the file before must still be put back.
func (m *Machine) MustRestore(f Files) bool {
	return m.State == Failed && m.IsRolledBack && f.Installed == m.Release
}

// NotRestored takes why the file before could not be put back.
func (m *Machine) NotRestored(err error) {
	m.IsRolledBack, m.Why = false, fmt.Sprintf("%s; not rolled back: %s", m.Why, err)
}

// Unsettled says why a tool must not go on to the next host; empty: it may.
func (r *Record) Unsettled() string {
	switch r.State {
	case Seated, Activated:
		return fmt.Sprintf("%s is being activated at %s", r.Release.Short(), r.Path)
	case Failed:
		return fmt.Sprintf("%s failed at %s: %s", r.Release.Short(), r.Path, r.Why)
	}
	return ""
}
