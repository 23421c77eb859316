// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/stage"
)

// step does what a path needs next, and reports whether there is more to do now. What it is about to do is kept on disk first.
func (s *staging) step(ctx context.Context, p *stagedPath) bool {
	s.mu.Lock()
	isKnown := p.next.Path != ""
	s.mu.Unlock()
	if !isKnown { // what an earlier service was about to do must not be dropped for want of a report
		return false
	}
	s.look(ctx, p)
	if err := s.keep(p); err != nil {
		stageUnsaved.to(s.cfg.Log, keyError.of(err))
		return false
	}
	before := s.record(p)
	switch {
	case p.MustRestore(p.files):
		s.restore(p)
	case before.State == stage.Seated && !before.IsAsked && !p.isHeld: // seated by the service before this one
		s.askWhenDue(ctx, p, before)
	case before.State == stage.Seated:
		s.place(p)
	case before.State == stage.Wanted && before.IsAsked: // also while the gate cannot be told of the release before
		s.enter(ctx, p, before)
	case before.Owed != nil:
		isLost := s.tell(ctx, p, before)
		if f := s.cfg.Staging.Fleet; isLost && before.State == stage.Wanted && f != nil && f.OpenAfter > 0 && s.preflight(ctx, p, before.Release) {
			s.ask(ctx, p, before)
		}
	case before.State == stage.Wanted:
		s.enter(ctx, p, before)
	case before.State == stage.Activated && !before.IsAsked:
		s.askWhenDue(ctx, p, before)
	}
	return s.record(p) != before
}

func (s *staging) record(p *stagedPath) stage.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.Record
}

// change changes a machine.
func (s *staging) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// look takes what is true now: the files, and how far their rollout has come.
func (s *staging) look(ctx context.Context, p *stagedPath) {
	s.mu.Lock()
	next := p.next
	s.mu.Unlock()
	files, problem, err := p.read(next)
	s.change(func() {
		if err == nil {
			p.files = files
			was := p.Release
			p.Found(files, time.Now())
			if p.Release != was {
				p.isHeld, p.askAt, p.tries, p.waits = false, time.Time{}, 0, ""
			}
		}
		if p.State == stage.Idle {
			p.Why = problem
			p.forgetFailedCheck()
		}
	})
	if state := s.record(p).State; state != stage.Activated && state != stage.Baking && state != stage.Failed {
		return
	}
	status, err := s.status(ctx)
	if err != nil {
		return // it stops
	}
	progress, shown := s.progressOf(p, status)
	s.change(func() {
		p.progress = shown
		p.Progressed(progress, time.Now())
		if p.State == stage.Failed && progress.Failed != "" && s.cfg.Staging.RollsBack && !p.IsRolledBack && p.files.Installed == p.Release {
			p.RollBack(progress.Failed, time.Now())
		}
	})
}

// keep keeps the records where one has changed, and reports the changes.
func (s *staging) keep(p *stagedPath) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keepLocked(p)
}

// keepLocked is keep. The caller holds mu.
func (s *staging) keepLocked(p *stagedPath) error {
	if p.Record == p.saved {
		return nil
	}
	var all []stage.Record
	for _, each := range s.paths {
		all = append(all, each.Record)
	}
	if err := stage.Save(s.cfg.StateDir, all); err != nil {
		return err
	}
	if p.State != p.saved.State || p.Why != p.saved.Why || p.Release != p.saved.Release || p.IsRolledBack != p.saved.IsRolledBack {
		s.report(p)
	}
	p.saved = p.Record
	return nil
}

// stageWords say what a state means, where the record has no reason.
var stageWords = map[stage.State]string{
	stage.Wanted:    "it is checked, and then waits for its turn",
	stage.Seated:    "its turn has come",
	stage.Activated: "it is in place",
	stage.Baking:    "its servers are watched",
	stage.Proven:    "no server crashed while it baked",
	stage.Idle:      "it is the installed file",
}

// report adds an event, and a line to the log. The caller holds mu.
func (s *staging) report(p *stagedPath) {
	s.counts.StagedChanged(string(p.saved.State), string(p.State))
	s.feed.Staged(p.Path, string(p.Release), string(p.State), p.Why)
	if p.Release == "" {
		return // nothing is staged
	}
	m := stageChanged
	if p.State == stage.Failed || p.State == stage.Wanted && p.checked != nil && p.checked.Problem != "" {
		m = stageFailed
	}
	m.to(s.cfg.Log, keyInstall.of(p.Path), keyRelease.of(p.Release.Short()), keyState.of(string(p.State)), keyReason.of(cmp.Or(p.Why, stageWords[p.State])))
}

// place puts the staged file in place.
func (s *staging) place(p *stagedPath) {
	err := stage.Place(p.Path, p.Release)
	s.change(func() {
		p.Placed(err, time.Now())
		if err != nil {
			p.askAt = time.Now().Add(fleet.MaxWait)
		}
	})
}

// restore puts the file before back.
func (s *staging) restore(p *stagedPath) {
	if err := stage.Restore(p.Path); err != nil {
		s.change(func() { p.NotRestored(err) })
	}
}

// request is what a gate is asked.
func (s *staging) request(ctx context.Context, p *stagedPath, r stage.Release) stage.Request {
	request := stage.Request{Path: p.Path, Release: r}
	now := install.Stat(install.RootedPath{Path: p.Path})
	status, err := s.status(ctx)
	for _, i := range status.Installs {
		if err == nil && (i.Path == p.Path || now.Image.Known() && i.Image == now.Image) {
			request.Servers += i.Servers
		}
	}
	return request
}

// enter checks a wanted release, and asks the gate, unless an operator has activated it.
func (s *staging) enter(ctx context.Context, p *stagedPath, r stage.Record) {
	if !s.preflight(ctx, p, r.Release) {
		return
	}
	if s.record(p).IsAsked {
		s.change(func() { p.Seat(p.Bake, "", time.Now()) })
		return
	}
	s.askWhenDue(ctx, p, r)
}

// askWhenDue does ask, unless the host has to wait.
func (s *staging) askWhenDue(ctx context.Context, p *stagedPath, r stage.Record) {
	if !time.Now().Before(p.askAt) {
		s.ask(ctx, p, r)
	}
}

// ask asks the gate for a seat, or keeps that of this host. A file that is in place stays there, whatever the gate says, and the
// host asks on until its rollout is settled. A file that is not in place yet is put there only with a seat that the gate confirms.
func (s *staging) ask(ctx context.Context, p *stagedPath, r stage.Record) {
	called, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	answer, err := s.gate.Enter(called, s.request(ctx, p, r.Release))
	s.change(func() {
		if p.State != r.State || p.Release != r.Release || p.IsAsked != r.IsAsked {
			return // an operator's act came meanwhile
		}
		isGranted, why := err == nil && answer.IsGranted, answer.Why
		if err != nil {
			p.retry()
			why = s.gate.Name() + " cannot be reached: " + err.Error()
		} else {
			p.answered(answer)
		}
		switch {
		case p.State == stage.Wanted && isGranted:
			p.Seat(answer.Bake, why, time.Now())
		case p.State == stage.Wanted:
			p.Wait(why)
		case p.State == stage.Seated && err == nil && !isGranted:
			p.Unseat(why, time.Now())
		case p.State == stage.Seated:
			p.Why = why
		}
	})
}

// tell tells the gate what it must know, until it has taken that. It reports whether a call failed.
func (s *staging) tell(ctx context.Context, p *stagedPath, r stage.Record) (isLost bool) {
	if time.Now().Before(p.askAt) && p.tries > 0 || !s.speaks(p, r.Owed) {
		return false
	}
	called, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	request := s.request(ctx, p, r.Owed.Release)
	var err error
	if r.Owed.Failed != "" {
		err = s.gate.Fail(called, request, r.Owed.Failed)
	} else {
		err = s.gate.Leave(called, request, r.Owed.Outcome)
	}
	s.change(func() {
		switch {
		case err != nil:
			p.retry()
		case p.Owed == r.Owed:
			p.Told()
			p.tries = 0
		}
	})
	return err != nil
}

// answered takes what the gate said.
func (p *stagedPath) answered(a stage.Answer) {
	p.isHeld, p.askAt, p.tries, p.waits = a.IsGranted, a.AskAt, 0, a.Reason
	if p.askAt.IsZero() {
		p.askAt = time.Now().Add(fleet.MaxWait)
	}
}

// retry waits longer after each call that failed.
func (p *stagedPath) retry() {
	p.tries++
	p.askAt, p.waits = time.Now().Add(fleet.Retry(p.tries, rand.Float64())), waitsForEngine
}
