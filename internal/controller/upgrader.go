// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// inspector reads about one process. It fails with [selector.ErrGone] when there is no such process. It is
// called from several goroutines.
type inspector interface {
	// Inspect reads the facts that rule asks for. What a file system was asked before since does not count.
	Inspect(pid selector.PID, rule selector.Rule, since time.Time) (selector.Process, error)
	// User tells whose it is, which costs less.
	User(pid selector.PID) (selector.Identity, uint32, error)
	// Unchanged reports whether a process has not exec'd since it was read, and sees the same files, which costs
	// next to nothing. It is false whenever that cannot be told. Of p it needs identity, Layout and View.
	Unchanged(p selector.Process) bool
}

// Target is one pinned process.
type Target interface {
	Signal(sig syscall.Signal) error
	// Wait blocks until the process ends, and says how. It fails when ctx ends.
	Wait(ctx context.Context) (selector.Exit, error)
	Close() error
}

// witness sees the signals of others.
type witness interface {
	Trace(pid selector.PID) (selector.Trace, error)
}

// Config is what an [Upgrader] works with. All fields but Self, Witness and RetryAfter are needed.
type Config struct {
	// Rule holds for every look; its Install is that of the process.
	Rule selector.Rule
	// Self is signalled last.
	Self      selector.PID
	Signal    syscall.Signal
	Source    Source
	Inspector inspector
	// Pin names a process so that its number may be used again without harm. It fails with
	// [selector.ErrGone].
	Pin func(selector.PID) (Target, error)
	// Witness keeps us from sending what another has sent already.
	Witness witness
	// RetryAfter is how long a server that another has asked is left alone.
	RetryAfter time.Duration
}

// Upgrader looks at processes and delivers signals. It is safe for concurrent use.
type Upgrader struct {
	cfg Config
}

// New returns an Upgrader.
func New(cfg Config) *Upgrader {
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = rollout.DefaultRetryAfter
	}
	return &Upgrader{cfg: cfg}
}

// installs says what processes are compared with. It is asked by several goroutines.
type installs interface {
	// Interpreters are those of all installs, to be looked for in the roots of processes that see other
	// files than we do.
	Interpreters() []string
	// Of is the install that a process belongs to, and Since when it was told: what was asked before may be of the
	// one before. It is zero where that cannot be.
	Of(p selector.Process) selector.Install
	Since(p selector.Process) time.Time
	// All are those that processes were compared with.
	All() []selector.Install
}

// One compares every process with the same install.
type One struct{ Install selector.Install }

// Interpreters are those of the install.
func (o One) Interpreters() []string { return o.Install.Interpreters }

// Of is the install.
func (o One) Of(selector.Process) selector.Install { return o.Install }

// Since is zero: who has one install asks for all else later.
func (o One) Since(selector.Process) time.Time { return time.Time{} }

// All is the install.
func (o One) All() []selector.Install { return []selector.Install{o.Install} }

// view is one process as it was looked at.
type view struct {
	process  selector.Process
	install  selector.Install
	decision selector.Decision
	// at is when the look began, and took how long it went on.
	at   time.Time
	took time.Duration
}

// lookAtAll judges the candidates, ascending and each once, on all cores: nearly all of the time is
// spent in the kernel, and not on locks. Each user gets a portion of it: left are those who were not looked at
// for that reason. When ctx ends it answers with those that it came to.
func (u *Upgrader) lookAtAll(ctx context.Context, with installs, candidates []selector.PID) (views []view, left []left) {
	pids := selector.Plan(0, candidates)
	views = make([]view, len(pids))
	workers := min(runtime.GOMAXPROCS(0), len(pids))
	shares := portions{of: u.cfg.Inspector.User}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(pids)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				views[i] = shares.look(pids[i], func(pid selector.PID) view { return u.lookAt(pid, with) })
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(views, func(v view) bool { return v.decision.Verdict == selector.Undecided }), shares.left
}

func (u *Upgrader) lookAt(pid selector.PID, with installs) view {
	start := time.Now()
	v := u.judged(pid, with)
	v.at, v.took = start, time.Since(start)
	return v
}

func (u *Upgrader) judged(pid selector.PID, with installs) view {
	rule := u.cfg.Rule
	rule.Install = selector.Install{Interpreters: with.Interpreters()}
	process, err := u.cfg.Inspector.Inspect(pid, rule, time.Time{})
	if since := with.Since(process); !process.LookedUpAt.IsZero() && process.LookedUpAt.Before(since) {
		process, err = u.cfg.Inspector.Inspect(pid, rule, since)
	}
	process.PID = pid
	switch {
	case errors.Is(err, selector.ErrGone):
		return view{process: process, decision: selector.Decision{Verdict: selector.Gone}}
	case err != nil:
		return view{process: process, decision: selector.Decision{Verdict: selector.UnreadableFacts, Detail: err.Error()}}
	}
	rule.Install = with.Of(process)
	return view{process: process, install: rule.Install, decision: rule.Judge(process)}
}

// delivery is what became of one. The view is that of the last look.
type delivery struct {
	view
	sent bool
	// before is a moment right before it was sent.
	before time.Time
	// byOther is when somebody else sent the signal, if that is why it was not sent.
	byOther time.Time
	// target is the pinned process, if it was signalled. The caller must release it.
	target Target
	// err says why the process may not be signalled. It is never [selector.ErrGone].
	err error
}

// release unpins the process.
func (d *delivery) release() {
	if d.target != nil {
		_ = d.target.Close() // nothing is buffered in a pidfd that could be lost
		d.target = nil
	}
}

// deliver is the only way to a signal: pin, read, decide, send. The pin comes first: the facts may
// then be those of a later owner of the number, but the signal cannot reach one.
//
// One that had taken the number before is not the process that was planned for, and not sent anything.
func (u *Upgrader) deliver(planned selector.Identity, with installs) delivery {
	d := u.pinned(planned, with)
	if !d.sent {
		d.release()
	}
	if errors.Is(d.err, selector.ErrGone) {
		d.decision, d.err = selector.Decision{Verdict: selector.Gone}, nil
	}
	return d
}

func (u *Upgrader) pinned(planned selector.Identity, with installs) (d delivery) {
	pid := planned.PID
	d.process.PID = pid
	d.target, d.err = u.cfg.Pin(pid)
	if d.err != nil {
		d.target = nil
		return d
	}
	before, blind := u.trace(pid)
	d.view = u.lookAt(pid, with)
	if d.decision.Verdict != selector.Outdated || d.process.Identity != planned {
		return d
	}
	after, blindNow := u.trace(pid)
	switch {
	case blind != nil || blindNow != nil: // somebody else may have asked it
		d.err = cmp.Or(blind, blindNow)
	case after.Exec != before.Exec: // what was seen may be of the image before
		d.decision = selector.Decision{Verdict: selector.NoHandler, Detail: "exec'd while it was looked at", Stale: true}
	case after.IsUntracked && time.Since(with.Since(d.process)) < othersAct:
		d.err = ErrUnseen
	case !after.SignalledAt.IsZero() && time.Since(after.SignalledAt) < u.cfg.RetryAfter:
		d.byOther = after.SignalledAt
		d.decision.Detail = "somebody else has asked it"
	default:
		d.before = time.Now()
		d.err = d.target.Signal(u.cfg.Signal)
		d.sent = d.err == nil
	}
	return d
}

// othersAct is how long after an install other senders are waited for whose signals are not seen. The servers' own
// trigger sends 0.5 to 2 s after it, and an idle server execs within milliseconds.
const othersAct = 5 * time.Second

// ErrUnseen means that a server may have the signal from another sender, which is not seen of this one.
var ErrUnseen = errors.New("no room for it in the kernel's map: another sender's signal is not seen (--max-entries)")

// trace is empty where nobody watches.
func (u *Upgrader) trace(pid selector.PID) (selector.Trace, error) {
	if u.cfg.Witness == nil {
		return selector.Trace{}, nil
	}
	t, err := u.cfg.Witness.Trace(pid)
	if err != nil {
		return selector.Trace{}, fmt.Errorf("trace %d: %w", pid, err)
	}
	return t, nil
}
