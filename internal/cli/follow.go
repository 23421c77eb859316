// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// upgrader is a service that upgrades servers: that of this process, or the one that runs.
type upgrader interface {
	Trigger(ctx context.Context, path string, self selector.PID) (api.Report, error)
	Status(ctx context.Context) (api.Status, error)
	Servers(ctx context.Context) ([]api.ServerStatus, error)
	// EventsSince returns the events from a number on.
	EventsSince(ctx context.Context, from uint64) ([]control.Event, error)
}

type local struct {
	*controller.Controller
	feed *control.Feed
}

// EventsSince implements [upgrader].
func (l local) EventsSince(_ context.Context, from uint64) ([]control.Event, error) {
	return l.feed.Since(from), nil
}

type remote struct{ *control.Client }

// Trigger implements [upgrader].
func (r remote) Trigger(ctx context.Context, path string, self selector.PID) (api.Report, error) {
	return r.Client.Trigger(ctx, control.TriggerRequest{InstallPath: path, Self: self})
}

// Status implements [upgrader].
func (r remote) Status(ctx context.Context) (api.Status, error) {
	status, err := r.Client.Status(ctx)
	return status.Status, err
}

// EventsSince implements [upgrader].
func (r remote) EventsSince(ctx context.Context, from uint64) (events []control.Event, err error) {
	return events, r.Events(ctx, from, false, func(e control.Event) error {
		events = append(events, e)
		return nil
	})
}

// follower makes an upgrader upgrade the servers of an install, or of all, and follows that to its end. It belongs to one
// goroutine.
type follower struct {
	*app
	upgrader
	progress
	path string
	self selector.PID
	// next is the number of the first event that was not read yet.
	next uint64
	// status is the latest; rollouts are those of the install in it, by number.
	status   api.Status
	rollouts map[uint64]rollout.Report
	// servers have the latest state of each that moved.
	servers map[selector.PID]rollout.Member
}

func (a *app) newFollower(u upgrader, next uint64) *follower {
	return &follower{
		app: a, upgrader: u, progress: progress{out: a.stderr, isTerminal: isTerminal(a.stderr)}, path: a.opts.installPath(),
		next: next, servers: make(map[selector.PID]rollout.Member),
	}
}

// followEvery is how often the state of a rollout is read.
const followEvery = 50 * time.Millisecond

func (f *follower) follow(ctx context.Context) error {
	report, err := f.Trigger(ctx, f.path, f.self)
	if err == nil {
		err = f.update(ctx)
	}
	for err == nil && !f.opts.noWait && !f.isOver() {
		select {
		case <-time.After(followEvery):
			err = f.update(ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	f.finish()
	switch {
	case ctx.Err() != nil:
		return errors.Join(f.print(nil), errInterrupted)
	case err != nil:
		return fmt.Errorf("the service ended before the rollout did: %w", err)
	case f.opts.noWait:
		return f.leave(report.Only(api.IsServer))
	}
	servers, err := f.Servers(ctx)
	if err != nil {
		return err
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
	f.rollouts = make(map[uint64]rollout.Report)
	for _, r := range f.status.Rollouts {
		if f.path == "" || slices.ContainsFunc(f.installs(), func(i api.InstallStatus) bool { return i.Rollout == r.Number }) {
			f.rollouts[r.Number] = r
		}
	}
	events, err := f.EventsSince(ctx, f.next)
	for i := range events {
		f.next = events[i].Seq + 1
		f.take(&events[i])
	}
	f.show(f.merged())
	return err
}

func (f *follower) isOurs(number uint64) bool {
	_, isOurs := f.rollouts[number]
	return isOurs
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

// merged are the rollouts as one.
func (f *follower) merged() rollout.Report {
	return daemon.Merged(slices.SortedFunc(maps.Values(f.rollouts), func(a, b rollout.Report) int { return cmp.Compare(a.Number, b.Number) }))
}

// isOver reports whether no server is left to be signalled by itself, and each that was signalled has its result.
func (f *follower) isOver() bool {
	if f.unready() != nil {
		return true
	}
	if slices.ContainsFunc(f.installs(), func(i api.InstallStatus) bool { return i.Detail == registry.ReasonUnreported }) {
		return false
	}
	isStopped := f.status.Paused || f.status.JournalError != ""
	for _, r := range f.rollouts {
		if !r.Phase.IsOver() && !isStopped || r.Servers[rollout.Signalled]+r.Servers[rollout.Settling] > 0 {
			return false
		}
	}
	return true
}

// unready is an install with a rollout under way and no ready file; nil if there is none.
func (f *follower) unready() *selector.Install {
	for _, r := range f.rollouts {
		of := slices.DeleteFunc(f.installs(), func(i api.InstallStatus) bool { return i.Rollout != r.Number })
		isReady := slices.ContainsFunc(of, func(i api.InstallStatus) bool { return i.State == selector.StateReady })
		if !isReady && len(of) > 0 && r.Settled() < r.Total() {
			return &of[0].Install
		}
	}
	return nil
}

// obstacle is why the service signals servers no more: an operator paused it, or a rollout is halted.
func (f *follower) obstacle() error {
	all := f.merged()
	switch {
	case f.status.Paused:
		return fmt.Errorf("an operator paused the service %s; servers on the old binary: %d: ebpf-upgrader resume", sinceWhen(f.status.PausedSince), all.Behind())
	case f.status.JournalError != "":
		return fmt.Errorf("the journal cannot be written: %s; servers on the old binary: %d", f.status.JournalError, all.Behind())
	case len(all.Halts) == 0:
		return nil
	}
	first, more := all.Halts[0], ""
	if n := len(all.Halts) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more users", n)
	}
	return fmt.Errorf("halted %s for uid %d: %s%s; servers on the old binary: %d: install a good binary, or: ebpf-upgrader resume",
		sinceWhen(first.Since), first.UID, first.Reason, more, all.Behind())
}

func sinceWhen(t time.Time) string {
	if t.IsZero() {
		return "before this service started"
	}
	return "since " + t.Local().Format(time.DateTime)
}

// result is the error with the exit code.
func (f *follower) result() error {
	all := f.merged()
	behind, died := all.Behind(), f.count()[rollout.Crashed]
	if unready := f.unready(); unready != nil {
		return fmt.Errorf("install %q is not ready any more: %s; servers still outdated: %d", unready.Path, unready.Detail, behind)
	}
	switch err := f.obstacle(); {
	case err != nil && died > 0:
		return fmt.Errorf("servers died: %d; %w", died, err)
	case err != nil:
		return err
	case died > 0:
		return fmt.Errorf("servers died: %d; servers still outdated: %d", died, behind)
	case behind > 0:
		return stillOutdated(behind)
	}
	return nil
}

func (f *follower) count() map[rollout.State]int {
	counts := make(map[rollout.State]int)
	for _, m := range f.servers {
		counts[m.State]++
	}
	return counts
}

// phaseIncomplete is a rollout that is over, and left servers on their old image.
const phaseIncomplete rollout.Phase = "incomplete"

// outcome is what a followed trigger prints as JSON.
type outcome struct {
	SchemaVersion int `json:"schema_version"`
	// Rollout counts the servers that moved since the trigger, and those that are not upgraded.
	Rollout rollout.Report   `json:"rollout"`
	Servers []rollout.Member `json:"servers"`
}

func newOutcome(servers []rollout.Member) outcome {
	return outcome{api.SchemaVersion, daemon.Merged(nil), append([]rollout.Member{}, servers...)}
}

// print prints the result of each server. all are the servers that the service knows.
func (f *follower) print(all []api.ServerStatus) error {
	o := newOutcome(slices.SortedFunc(maps.Values(f.servers), func(a, b rollout.Member) int { return cmp.Compare(a.PID, b.PID) }))
	o.Rollout = f.merged()
	if o.Rollout.Phase == rollout.PhaseComplete && o.Rollout.Behind() > 0 {
		o.Rollout.Phase = phaseIncomplete
	}
	o.Rollout.Servers = f.count()
	if f.opts.output == "json" {
		return printJSON(f.stdout, o)
	}
	if len(o.Servers) == 0 && o.Rollout.Phase.IsOver() || o.Rollout.Phase == rollout.PhaseIdle {
		_, err := fmt.Fprintf(f.stdout, "nothing to do: %s\n", f.verdicts(all))
		return err
	}
	table := newColumns(f.stdout)
	fmt.Fprintln(table, "PID\tUID\tOUTCOME\tDETAIL")
	for _, m := range o.Servers {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\n", m.PID, m.UID, m.State, printable(m.Detail))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(f.stdout, "\n%s: %s\n", o.Rollout.Phase, daemon.Outcomes(o.Rollout))
	return err
}

// verdicts counts the servers of the install by verdict.
func (f *follower) verdicts(all []api.ServerStatus) string {
	counts := make(map[selector.Verdict]int)
	for _, s := range all {
		if f.path == "" || !f.status.Learned && s.Verdict != selector.OtherInstall || s.UpgradeBin == f.path {
			counts[s.Verdict]++
		}
	}
	return daemon.Counts(counts)
}

// leave prints what the service is about to do, and fails where servers remain outdated. Members of halted users are not
// planned.
func (f *follower) leave(r api.Report) error {
	halts := f.merged().Halts
	isHalted := func(s api.Server) bool {
		return f.status.Paused || slices.ContainsFunc(halts, func(h rollout.Halt) bool { return h.UID == s.UID })
	}
	r.Plan = r.Only(func(s api.Server) bool { return !isHalted(s) }).Plan
	if f.opts.output == "json" {
		if err := printJSON(f.stdout, r); err != nil {
			return err
		}
	} else if err := printServers(f.stdout, r); err != nil {
		return err
	} else {
		fmt.Fprintf(f.stdout, "\n%d to be signalled in turn; %s; source: %s\n", len(r.Plan), daemon.Verdicts(r), r.Source)
	}
	err := f.obstacle()
	all := f.merged()
	if behind := all.Servers[rollout.Skipped] + all.Servers[rollout.GaveUp]; err == nil && behind > 0 {
		err = stillOutdated(behind)
	}
	return err
}

// progress shows how far a rollout has come: as a line that is written again on a terminal, as lines elsewhere.
type progress struct {
	out        io.Writer
	isTerminal bool
	phase      rollout.Phase
}

// toLineStart moves the cursor to the start of its line, and clears the line.
const toLineStart = "\r\x1b[K"

func (p *progress) show(r rollout.Report) {
	switch {
	case p.isTerminal:
		fmt.Fprintf(p.out, toLineStart+"%s: %d of %d", r.Phase, r.Settled(), r.Total())
	case r.Phase != p.phase && !r.Phase.IsOver():
		p.say(fmt.Sprintf("%s: %s", r.Phase, daemon.Outcomes(r)))
	}
	p.phase = r.Phase
}

func (p *progress) moved(m rollout.Member) {
	if p.isTerminal {
		return
	}
	line := fmt.Sprintf("server %d: %s", m.PID, m.State)
	if m.Detail != "" {
		line += " (" + m.Detail + ")"
	}
	p.say(line)
}

func (p *progress) say(line string) {
	p.finish()
	fmt.Fprintln(p.out, printable(line))
}

// finish clears the line of progress.
func (p *progress) finish() {
	if p.isTerminal {
		fmt.Fprint(p.out, toLineStart)
	}
}
