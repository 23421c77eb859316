// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Round implements [controller.Observer].
func (f *Feed) Round(reason api.Reason, r api.Report, _ time.Duration) {
	if reason == api.ReasonServer && len(r.Plan) == 0 {
		return // an inspection of a server that has just started
	}
	e := Event{Kind: EventRound, Reason: reason, Servers: len(r.Servers), Planned: len(r.Plan), UID: userOf(r.Servers)}
	if len(r.Installs) == 1 {
		e.Detail, e.Path = r.Installs[0].Detail, r.Installs[0].Path
	}
	f.add(e)
}

// userOf is the user of all servers; nil: there is none, or several.
func userOf(servers []api.Server) *uint32 {
	for i := range servers {
		if servers[i].UID != servers[0].UID {
			return nil
		}
	}
	if len(servers) == 0 {
		return nil
	}
	uid := servers[0].UID
	return &uid
}

// maxReasons is how many halts an event names.
const maxReasons = 3

func reasons(halts []rollout.Halt) string {
	var all []string
	for _, h := range halts[:min(len(halts), maxReasons)] {
		all = append(all, h.Reason)
	}
	return strings.Join(all, "; ")
}

// Rollout implements [controller.Observer].
func (f *Feed) Rollout(r rollout.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.records.of(r.Number)
	known.report(r, time.Now())
	shown := known.copied()
	e := Event{
		Kind: EventRollout, Rollout: r.Number, Phase: known.Phase, Image: new(r.Install.Image), Path: r.Install.Path,
		Users: shown.Users, Counts: shown.Servers,
	}
	switch {
	case r.Superseded:
		e.Detail = "superseded"
	case r.Phase == rollout.PhaseHalted:
		e.Detail = reasons(r.Halts)
	}
	known.Seq = f.addLocked(e).Seq
	switch {
	case known.isWorthKeeping():
		f.keepRecord(known.copied())
	case r.Superseded:
		f.records.remove(r.Number)
	}
}

// Moved implements [controller.Observer].
func (f *Feed) Moved(m rollout.Member, from rollout.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.records.of(m.Rollout)
	e := Event{ // with copies: a pointer into m would keep all of it
		Kind: EventServer, PID: m.PID, UID: new(m.UID), From: new(from), State: new(m.State), Path: known.Install.Path,
		ByOther: m.ByOther, Canary: m.Canary, Attempt: m.Attempts, Rollout: m.Rollout, Detail: m.Detail,
	}
	switch m.State {
	case rollout.Signalled, rollout.Settling, rollout.Upgraded, rollout.Crashed:
		e.FromImage, e.Image = imageOf(m.From), imageOf(known.Install.Image)
	}
	known.move(f.addLocked(e))
	if m.State == rollout.Crashed && from != m.State {
		f.keepRecord(known.copied())
	}
}

func imageOf(image selector.Image) *selector.Image {
	if !image.Known() {
		return nil
	}
	return &image
}

// Refused implements [controller.Observer].
func (f *Feed) Refused(m rollout.Member, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := Event{Kind: EventRefused, PID: m.PID, UID: new(m.UID), Rollout: m.Rollout, Detail: err.Error()}
	if at, isKnown := f.records.find(m.Rollout); isKnown {
		e.Path = f.records[at].Install.Path
	}
	f.addLocked(e)
}

// Acted adds the event of an act. e has the fields that [EventAct] names.
func (f *Feed) Acted(e Event) {
	e.Kind = EventAct
	f.add(e)
}

// Staged adds the event of a staged path that came into another state.
func (f *Feed) Staged(path, release, state, why string) {
	f.add(Event{Kind: EventStage, Path: path, Release: release, StageState: state, Detail: why})
}

// Fleet adds an event of the engine of the fleet.
func (f *Feed) Fleet(detail string) { f.add(Event{Kind: EventFleet, Detail: detail}) }

// Trouble implements [controller.Observer].
func (f *Feed) Trouble(err error) { f.add(Event{Kind: EventTrouble, Detail: err.Error()}) }
