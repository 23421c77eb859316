// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// upgrader is a service that upgrades servers: that of this process, or the [control.Client] of the one that runs.
type upgrader interface {
	Trigger(ctx context.Context, request control.TriggerRequest) (api.Report, error)
	Status(ctx context.Context) (control.Status, error)
	Servers(ctx context.Context) ([]api.ServerStatus, error)
	Events(ctx context.Context, q control.EventQuery, take func(control.Event) error) error
}

type local struct {
	*controller.Controller
	feed *control.Feed
}

// Trigger implements [upgrader].
func (l local) Trigger(ctx context.Context, request control.TriggerRequest) (api.Report, error) {
	return l.Controller.Trigger(ctx, request.InstallPath, request.Self)
}

// Status implements [upgrader].
func (l local) Status(ctx context.Context) (control.Status, error) {
	status, err := l.Controller.Status(ctx)
	return control.Status{Status: status}, err
}

// Events implements [upgrader].
func (l local) Events(_ context.Context, q control.EventQuery, take func(control.Event) error) error {
	return l.feed.Each(q, take)
}

// follower makes an upgrader upgrade the servers of an install, or of all, and follows that to its end. It belongs to one
// goroutine.
type follower struct {
	*app
	upgrader
	path string
	self selector.PID
	// next is the number of the first event that was not read yet.
	next uint64
	// status is the latest; rollouts are those of the install in it. latest is the highest number of all installs.
	status   control.Status
	rollouts []rollout.Report
	latest   uint64
	// servers have the latest state of each that moved.
	servers map[selector.PID]rollout.Member
	// isTerminal says that progress is shown as a line that is written again; elsewhere as lines. phase is the last one shown.
	isTerminal bool
	phase      rollout.Phase
}

func newFollower(a *app, u upgrader, next uint64) *follower {
	return &follower{
		app: a, upgrader: u, path: a.opts.installPath(), next: next, servers: make(map[selector.PID]rollout.Member),
		isTerminal: screen.IsTerminal(a.stderr),
	}
}

// followEvery is how often the state of a rollout is read.
const followEvery = 50 * time.Millisecond

func (f *follower) follow(ctx context.Context) error {
	report, err := f.Trigger(ctx, control.TriggerRequest{InstallPath: f.path, Self: f.self})
	if err == nil {
		err = f.update(ctx)
	}
	var servers []api.ServerStatus
	for err == nil && !f.opts.noWait {
		if f.isOver() {
			if servers, err = f.Servers(ctx); err != nil || !slices.ContainsFunc(servers, f.isChanging) {
				break
			}
		}
		sys.WaitFor(ctx.Done(), followEvery)
		err = f.update(ctx)
	}
	f.finish()
	switch {
	case ctx.Err() != nil:
		return errors.Join(f.print(nil), errInterrupted)
	case control.HasEnded(err):
		return fmt.Errorf("the service ended before the rollout did: %w", err)
	case err != nil:
		return err
	case f.opts.noWait:
		return f.leave(report.Only(api.IsServer))
	}
	for _, s := range servers { // also those that have not moved
		m := s.Rollout
		if m == nil || !f.isOurs(m.Rollout) {
			continue
		}
		if _, hasMoved := f.servers[m.PID]; hasMoved || m.State != rollout.Upgraded {
			f.servers[m.PID] = *m
		}
	}
	return errors.Join(f.print(servers), f.result())
}

// update reads the state, and then the events, so that these explain it.
func (f *follower) update(ctx context.Context) (err error) {
	if f.status, err = f.Status(ctx); err != nil {
		return err
	}
	f.rollouts = nil
	for _, r := range f.status.Rollouts {
		f.latest = max(f.latest, r.Number)
		if f.path == "" || slices.ContainsFunc(f.installs(), func(i api.InstallStatus) bool { return i.Rollout == r.Number }) {
			f.rollouts = append(f.rollouts, r)
		}
	}
	err = f.Events(ctx, control.EventQuery{From: f.next}, func(e control.Event) error {
		f.next = e.Seq + 1
		f.take(&e)
		return nil
	})
	f.show(daemon.Merged(f.rollouts))
	return err
}

func (f *follower) isOurs(number uint64) bool {
	return slices.ContainsFunc(f.rollouts, func(r rollout.Report) bool { return r.Number == number })
}

func (f *follower) take(e *control.Event) {
	switch {
	case e.Kind == control.EventTrouble:
		f.say(e.Detail)
	case e.Kind == control.EventRefused:
		f.say(fmt.Sprintf("server %d was not signalled: %s", e.PID, e.Detail))
	case e.Kind != control.EventServer || !f.isOurs(e.Rollout):
	case *e.State == rollout.None && *e.From != rollout.Upgraded:
		delete(f.servers, e.PID) // another sender upgraded it
	case *e.State != rollout.None:
		m := rollout.Member{
			PID: e.PID, UID: *e.UID, Rollout: e.Rollout, State: *e.State, Since: e.Time, Detail: e.Detail, Attempts: e.Attempt,
			ByOther: e.ByOther, Canary: e.Canary,
		}
		f.servers[m.PID] = m
		f.moved(m)
	}
}

// installs are those at the path, or all.
func (f *follower) installs() []api.InstallStatus {
	return slices.DeleteFunc(slices.Clone(f.status.Installs), func(i api.InstallStatus) bool { return f.path != "" && i.Path != f.path })
}

// isOver reports whether no server is left to be signalled by itself, and each that was signalled has its result.
func (f *follower) isOver() bool {
	if slices.ContainsFunc(f.installs(), func(i api.InstallStatus) bool { return i.Detail == registry.ReasonUnreported }) {
		return false
	}
	isStopped := f.status.Paused || f.status.JournalError != ""
	for _, r := range f.rollouts {
		if r.Phase == rollout.PhaseIdle { // no file can be exec'd: none of its servers goes on
			continue
		}
		if !r.Phase.IsOver() && r.Phase != rollout.PhasePaused && !isStopped || r.Servers[rollout.Signalled]+r.Servers[rollout.Settling] > 0 {
			return false
		}
	}
	return true
}

// isChanging reports whether a server names a file that was replaced or found a moment ago, and is yet to be inspected with it: its
// rollout is yet to begin, or has begun since the status was read.
func (f *follower) isChanging(s api.ServerStatus) bool {
	if f.path != "" && s.UpgradeBin != f.path {
		return false
	}
	if s.Rollout != nil && s.Rollout.Rollout > f.latest {
		f.latest = s.Rollout.Rollout // once: the next status has it
		return true
	}
	return s.Detail == registry.ReasonChanged || s.Detail == registry.ReasonUnreported
}

// unready are the installs with servers and without a ready file.
func (f *follower) unready() []api.InstallStatus {
	return slices.DeleteFunc(f.installs(), func(i api.InstallStatus) bool { return i.State == selector.StateReady || i.Servers == 0 })
}

// toLineStart moves the cursor to the start of its line, and clears the line.
const toLineStart = "\r\x1b[K"

// show shows how far a rollout has come.
func (f *follower) show(r rollout.Report) {
	switch {
	case f.isTerminal:
		fmt.Fprintf(f.stderr, toLineStart+"%s: %d of %d", r.Phase, r.Settled(), r.Total())
	case r.Phase != f.phase && r.Phase != rollout.PhaseIdle && !r.Phase.IsOver():
		f.say(fmt.Sprintf("%s: %s", r.Phase, daemon.Outcomes(r)))
	}
	f.phase = r.Phase
}

func (f *follower) moved(m rollout.Member) {
	if f.isTerminal {
		return
	}
	line := fmt.Sprintf("server %d: %s", m.PID, m.State)
	if m.Detail != "" {
		line += " (" + m.Detail + ")"
	}
	f.say(line)
}

func (f *follower) say(line string) {
	f.finish()
	fmt.Fprintln(f.stderr, printable(line))
}

// finish clears the line of progress.
func (f *follower) finish() {
	if f.isTerminal {
		fmt.Fprint(f.stderr, toLineStart)
	}
}
