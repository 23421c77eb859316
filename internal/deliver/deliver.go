// SPDX-License-Identifier: MIT

// Package deliver inspects processes and sends them the signal. It keeps nothing between two calls.
//
//   - Pin, read, decide, send: each delivery pins the process first, then reads and judges it anew, and sends the signal
//     through the pin. An earlier inspection makes the plan only.
//   - Own process last, at most once, after every other delivery was attempted.
//   - Level, not edge: a survey follows from what is true when it runs.
//
// A pinned process can still exec between the last inspection and the signal, which resets its handlers. Image and handler
// are therefore read last, and the remaining window is some microseconds.
//
// The package does no I/O of its own: it states the interfaces that it needs.
package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

// Inspector reads the facts of one process. It fails with [selector.ErrGone] when there is no such process. It is called
// from several goroutines.
type Inspector interface {
	// Inspect reads the facts that rule asks for. Answers of file systems from before since do not count.
	Inspect(pid selector.PID, rule selector.Rule, since time.Time) (selector.Process, error)
	// User reads the owner only, which costs less and never waits.
	User(pid selector.PID) (selector.Identity, selector.User, error)
}

// Target is one pinned process.
type Target interface {
	Signal(sig syscall.Signal) error
	// Wait blocks until the process ends, and says how. It fails when ctx ends.
	Wait(ctx context.Context) (selector.Exit, error)
	Close() error
}

// Tracer sees the signals of other senders.
type Tracer interface {
	Trace(pid selector.PID) (selector.Trace, error)
}

// Config is what a [Deliverer] works with. Self, Tracer and RetryAfter may be left out.
type Config struct {
	// Rule holds for every inspection; its Install is that of the process.
	Rule selector.Rule
	// Self is signalled last.
	Self      selector.PID
	Signal    syscall.Signal
	Inspector Inspector
	// Pin names a process so that its PID may be used again without harm. It fails with [selector.ErrGone].
	Pin func(selector.PID) (Target, error)
	// Tracer keeps the service from sending what another sender has sent already.
	Tracer Tracer
	// RetryAfter is how long a server is left alone that another sender has signalled.
	RetryAfter time.Duration
}

// defaultRetryAfter is the one of a rollout: 30 s for running calls, and 30 s to spare.
const defaultRetryAfter = time.Minute

// Deliverer inspects processes and delivers signals. It is safe for concurrent use.
type Deliverer struct {
	cfg  Config
	live atomic.Pointer[Live]
}

// Live is what can change while a Deliverer is in use. It holds for each judgement and signal from then on.
type Live struct {
	Selection  selector.Selection
	RetryAfter time.Duration
}

// New returns a Deliverer.
func New(cfg Config) *Deliverer {
	d := &Deliverer{cfg: cfg}
	d.Change(Live{cfg.Rule.Selection, cfg.RetryAfter})
	return d
}

// Change replaces what can change.
func (d *Deliverer) Change(l Live) {
	l.RetryAfter = cmp.Or(l.RetryAfter, defaultRetryAfter)
	d.live.Store(&l)
}

// Config is what the Deliverer was made with.
func (d *Deliverer) Config() Config { return d.cfg }

// Resolver says which install a process is compared with. It is called from several goroutines.
type Resolver interface {
	// Interpreters are those of all installs that are inspected in the roots of processes with another view.
	Interpreters() []string
	// Of is the install of a process. Since is when that was reported: an answer from before may be about the install
	// before. It is zero where that cannot be.
	Of(p selector.Process) selector.Install
	Since(p selector.Process) time.Time
}

// One compares every process with the same install.
type One struct{ Install selector.Install }

// Interpreters are those of the install.
func (o One) Interpreters() []string { return o.Install.Interpreters }

// Of is the install.
func (o One) Of(selector.Process) selector.Install { return o.Install }

// Since is zero: the install was inspected before anything else.
func (o One) Since(selector.Process) time.Time { return time.Time{} }

// Inspection is what was read of one process, and the verdict on it.
type Inspection struct {
	Process  selector.Process
	Install  selector.Install
	Decision selector.Decision
	// At is when the inspection began, and Took how long it went on.
	At   time.Time
	Took time.Duration
}

// Inspect reads one process and judges it.
func (d *Deliverer) Inspect(pid selector.PID, with Resolver) Inspection {
	i := d.Read(pid, with.Interpreters(), time.Time{})
	if since := with.Since(i.Process); i.IsBefore(since) {
		i = d.Read(pid, with.Interpreters(), since)
	}
	if i.IsRead() {
		d.Judge(&i, with.Of(i.Process))
	}
	return i
}

// Read reads one process. It may wait for file systems and for the process itself. There is a verdict only if the process
// is gone or nothing can be read of it.
func (d *Deliverer) Read(pid selector.PID, interpreters []string, since time.Time) Inspection {
	i := Inspection{At: time.Now()}
	rule := d.cfg.Rule
	rule.Install = selector.Install{Interpreters: interpreters}
	var err error
	i.Process, err = d.cfg.Inspector.Inspect(pid, rule, since)
	i.Process.PID = pid
	i.Took = time.Since(i.At)
	switch {
	case errors.Is(err, selector.ErrGone):
		i.Decision = selector.Decision{Verdict: selector.Gone}
	case err != nil:
		i.Decision = selector.Decision{Verdict: selector.UnreadableFacts, Detail: err.Error()}
	}
	return i
}

// Judge judges a process that was read. It only computes.
func (d *Deliverer) Judge(i *Inspection, install selector.Install) {
	rule := d.cfg.Rule
	rule.Selection, rule.Install = d.live.Load().Selection, install
	i.Install, i.Decision = install, rule.Judge(i.Process)
}

// IsRead reports whether facts were read that can be judged.
func (i *Inspection) IsRead() bool { return i.Decision.Verdict == selector.Undecided }

// IsBefore reports whether the inspection rests on answers of file systems from before since.
func (i *Inspection) IsBefore(since time.Time) bool {
	return i.IsRead() && !i.Process.LookedUpAt.IsZero() && i.Process.LookedUpAt.Before(since)
}

// Delivery is the result of one delivery. Its Inspection is the last one before the signal, or the one that prevented it.
type Delivery struct {
	Inspection
	IsSent bool
	// Before is a moment right before the signal was sent.
	Before time.Time
	// ByOther is when another sender sent the signal, if that is why it was not sent.
	ByOther time.Time
	// Target is the pinned process, if it was signalled. The caller must release it.
	Target Target
	// Err says why the process may not be signalled. It is never [selector.ErrGone].
	Err error
}

// Release unpins the process.
func (d *Delivery) Release() {
	if d.Target != nil {
		_ = d.Target.Close() // nothing is buffered in a pidfd that could be lost
		d.Target = nil
	}
}

// Deliver is the only way to a signal: pin, read, decide, send. The pin comes first: the facts may then be those of a later
// owner of the PID, but the signal cannot reach that. A process that had taken the PID before is not the one that was
// planned for, and is sent nothing.
func (d *Deliverer) Deliver(planned selector.Identity, with Resolver) Delivery {
	all := d.deliver(planned, with)
	if !all.IsSent {
		all.Release()
	}
	if errors.Is(all.Err, selector.ErrGone) {
		all.Decision, all.Err = selector.Decision{Verdict: selector.Gone}, nil
	}
	return all
}

func (d *Deliverer) deliver(planned selector.Identity, with Resolver) (all Delivery) {
	pid := planned.PID
	all.Process.PID = pid
	all.Target, all.Err = d.cfg.Pin(pid)
	if all.Err != nil {
		all.Target = nil
		return all
	}
	before, traceErr := d.trace(pid)
	all.Inspection = d.Inspect(pid, with)
	if all.Decision.Verdict != selector.Outdated || all.Process.Identity != planned {
		return all
	}
	after, err := d.trace(pid)
	traceErr = cmp.Or(traceErr, err)
	switch {
	case traceErr != nil: // another sender may have signalled it
		all.Err = traceErr
	case after.Exec != before.Exec: // the facts may be of the image before
		all.Decision = selector.Decision{Verdict: selector.NoHandler, Detail: "exec'd while it was inspected", Stale: true}
	case after.IsUntracked && time.Since(with.Since(all.Process)) < OthersAct:
		all.Err = ErrUntracked
	case !after.SignalledAt.IsZero() && time.Since(after.SignalledAt) < d.live.Load().RetryAfter:
		all.ByOther = after.SignalledAt
		all.Decision.Detail = selector.ErrSignalledByOther.Error()
	default:
		all.Before = time.Now()
		all.Err = all.Target.Signal(d.cfg.Signal)
		all.IsSent = all.Err == nil
	}
	return all
}

// OthersAct is how long after an install the signals of other senders are waited for where they are not seen. The servers'
// own trigger sends 0.5 to 2 s after it, and an idle server execs within milliseconds.
const OthersAct = 5 * time.Second

// ErrUntracked means that a server may have the signal of another sender, which is not recorded for this server.
var ErrUntracked = errors.New("no room for it in the kernel's map: another sender's signal is not seen (--max-entries)")

// trace is empty where there is no tracer.
func (d *Deliverer) trace(pid selector.PID) (selector.Trace, error) {
	if d.cfg.Tracer == nil {
		return selector.Trace{}, nil
	}
	t, err := d.cfg.Tracer.Trace(pid)
	if err != nil {
		return selector.Trace{}, fmt.Errorf("trace %d: %w", pid, err)
	}
	return t, nil
}
