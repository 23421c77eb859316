// SPDX-License-Identifier: MIT

package upgrade

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// inspector reads the facts about one process that rule asks for. It fails with
// [selector.ErrGone] when there is no such process. It is called from several goroutines.
type inspector interface {
	Inspect(pid selector.PID, rule selector.Rule) (selector.Process, error)
}

// Target is one pinned process.
type Target interface {
	Signal(sig syscall.Signal) error
	Close() error
}

// Config is what an [Upgrader] works with. All fields but Self and RetryAfter are needed.
type Config struct {
	// Rule holds for every round; its Install is replaced by the round's.
	Rule selector.Rule
	// Self is signalled last.
	Self   selector.PID
	Signal syscall.Signal
	Source Source
	// RetryAfter is how long a server that was asked, and still runs its old image, is left alone.
	RetryAfter time.Duration
	Inspector  inspector
	// Pin names a process so that its number may be used again without harm. It fails with
	// [selector.ErrGone].
	Pin func(selector.PID) (Target, error)
}

// DefaultRetryAfter is twice the servers' own limit for running calls, after which they give up an
// upgrade.
const DefaultRetryAfter = 60 * time.Second

// Upgrader makes rounds. It remembers whom it asked, and must be used by one goroutine at a time.
type Upgrader struct {
	cfg    Config
	ledger *ledger
}

// New returns an Upgrader that has asked nobody yet.
func New(cfg Config) *Upgrader {
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = DefaultRetryAfter
	}
	return &Upgrader{cfg: cfg, ledger: newLedger(cfg.RetryAfter)}
}

// Survey judges every candidate against install and plans, but sends nothing.
func (u *Upgrader) Survey(ctx context.Context, install selector.Install, candidates []selector.PID) Report {
	rule := u.cfg.Rule
	rule.Install = install
	views := u.lookAtAll(ctx, rule, candidates)
	report := Report{
		SchemaVersion: SchemaVersion,
		Source:        u.cfg.Source,
		Install:       install,
		Self:          u.cfg.Self,
		Servers:       make([]Server, len(views)),
		Sent:          []selector.PID{},
		Failed:        []Failure{},
	}
	due := []selector.PID{}
	now := time.Now()
	for i, v := range views {
		report.Servers[i] = newServer(v.process, v.decision)
		switch {
		case v.decision.Verdict != selector.Outdated:
		case u.ledger.due(v.process, install.Image, now):
			due = append(due, v.process.PID)
		default:
			report.Servers[i].Detail = "was asked already"
		}
	}
	report.Plan = selector.Plan(u.cfg.Self, due)
	return report
}

// Round judges every candidate against install, and signals those that are outdated and were not
// asked yet. It does not wait for what the servers make of it. When ctx ends, the delivery at hand
// is finished and the report says how far the round came.
func (u *Upgrader) Round(ctx context.Context, install selector.Install, candidates []selector.PID) Report {
	report := u.Survey(ctx, install, candidates)
	rule := u.cfg.Rule
	rule.Install = install
	for _, pid := range report.Plan {
		if ctx.Err() != nil {
			break
		}
		sent, err := u.deliver(report.server(pid), rule)
		switch {
		case err != nil:
			report.Failed = append(report.Failed, Failure{PID: pid, Error: err.Error()})
		case sent:
			report.Sent = append(report.Sent, pid)
		}
	}
	return report
}

// view is one process as it was looked at.
type view struct {
	process  selector.Process
	decision selector.Decision
}

// lookAtAll judges the candidates, ascending and each once, on all cores: nearly all of the time is
// spent in the kernel, and not on locks. When ctx ends it answers with those that it came to.
func (u *Upgrader) lookAtAll(ctx context.Context, rule selector.Rule, candidates []selector.PID) []view {
	pids := selector.Plan(0, candidates)
	views := make([]view, len(pids))
	workers := min(runtime.GOMAXPROCS(0), len(pids))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(pids) && ctx.Err() == nil; i += workers {
				views[i] = u.lookAt(pids[i], rule)
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(views, func(v view) bool { return v.decision.Verdict == selector.Undecided })
}

func (u *Upgrader) lookAt(pid selector.PID, rule selector.Rule) view {
	process, err := u.cfg.Inspector.Inspect(pid, rule)
	process.PID = pid
	switch {
	case errors.Is(err, selector.ErrGone):
		return view{process, selector.Decision{Verdict: selector.Gone}}
	case err != nil:
		return view{process, selector.Decision{Verdict: selector.UnreadableFacts, Detail: err.Error()}}
	}
	return view{process, rule.Judge(process)}
}

// deliver is the only way to a signal: pin, read, decide, send. The pin comes first: the facts may
// then be those of a later owner of the number, but the signal cannot reach one. The server is
// brought up to date with what was found.
func (u *Upgrader) deliver(server *Server, rule selector.Rule) (sent bool, err error) {
	target, err := u.cfg.Pin(server.PID)
	if err != nil {
		return false, server.refused(err)
	}
	defer func() { _ = target.Close() }() // nothing is buffered in a pidfd that could be lost
	v := u.lookAt(server.PID, rule)
	*server = newServer(v.process, v.decision)
	if v.decision.Verdict != selector.Outdated || !u.ledger.due(v.process, rule.Install.Image, time.Now()) {
		return false, nil
	}
	if err := target.Signal(u.cfg.Signal); err != nil {
		return false, server.refused(err)
	}
	u.ledger.asked(v.process, rule.Install.Image, time.Now())
	return true, nil
}
