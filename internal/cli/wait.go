// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// waiter follows one rollout to its end. It belongs to one goroutine.
type waiter struct {
	progress
	// servers has the latest state of each.
	servers map[selector.PID]rollout.Member
	rollout rollout.Report
	// unready is the install if it ceased to be ready before the end of the rollout.
	unready *selector.Install
	// done is called at the end of the rollout, or when there can be none.
	done func()
}

func (a *app) newWaiter(done func()) *waiter {
	return &waiter{progress: newProgress(a.stderr), servers: make(map[selector.PID]rollout.Member), done: done}
}

// waitAlone runs a service until its rollout is over. checker has opened the install.
func (a *app) waitAlone(ctx context.Context, checker *install.Checker) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	h, err := daemon.OpenHost(ctx, cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	w := a.newWaiter(stop)
	if err := h.Follow(serving, checker.CachedChecks(), w); err != nil {
		return err
	}
	return a.waited(ctx, w)
}

// waitForService follows the rollout of a service.
func (a *app) waitForService(ctx context.Context, client *control.Client, from uint64) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	w := a.newWaiter(stop)
	err := client.Events(following, from, true, func(e control.Event) error {
		switch e.Kind {
		case control.EventServer:
			w.Moved(rollout.Member{PID: e.PID, UID: *e.UID, State: *e.State, Detail: e.Detail, Attempts: e.Attempt}, *e.From)
		case control.EventTrouble:
			w.Trouble(errors.New(e.Detail))
		}
		status, err := client.Status(following)
		if err == nil {
			w.Rollout(daemon.Merged(rolloutsFor(status.Status, a.opts.installPath())))
			w.lost(unreadyInstall(status.Status, a.opts.installPath()))
		}
		return err
	})
	if following.Err() == nil { // the service has gone
		return errors.Join(errors.New("the service ended before the rollout did"), err)
	}
	return a.waited(ctx, w)
}

// waited prints the result for each server, and returns the error with the exit code.
func (a *app) waited(ctx context.Context, w *waiter) error {
	w.finish()
	if err := a.printOutcomes(w); err != nil {
		return err
	}
	crashed, remain := w.rollout.Servers[rollout.Crashed], w.rollout.Behind()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case w.unready != nil:
		return fmt.Errorf("install %q is not ready any more: %s; servers still outdated: %d", w.unready.Path, w.unready.Detail, remain)
	case crashed > 0 || w.rollout.Phase == rollout.PhaseHalted:
		return fmt.Errorf("servers died: %d; servers still outdated: %d", crashed, remain)
	case remain > 0:
		return exitWith(exitBehind, fmt.Errorf("servers still outdated: %d", remain))
	}
	return nil
}

// outcome is what --wait prints as JSON.
type outcome struct {
	SchemaVersion int              `json:"schema_version"`
	Rollout       rollout.Report   `json:"rollout"`
	Servers       []rollout.Member `json:"servers"`
}

func (a *app) printOutcomes(w *waiter) error {
	servers := make([]rollout.Member, 0, len(w.servers))
	for _, m := range w.servers {
		servers = append(servers, m)
	}
	slices.SortFunc(servers, func(a, b rollout.Member) int { return cmp.Compare(a.PID, b.PID) })
	if a.opts.output == "json" {
		return printJSON(a.stdout, outcome{api.SchemaVersion, w.rollout, servers})
	}
	if len(servers) > 0 {
		table := newColumns(a.stdout)
		fmt.Fprintln(table, "PID\tUID\tOUTCOME\tDETAIL")
		for _, m := range servers {
			fmt.Fprintf(table, "%d\t%d\t%s\t%s\n", m.PID, m.UID, m.State, printable(m.Detail))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", w.rollout.Phase, daemon.Outcomes(w.rollout))
	return err
}

// Moved implements [controller.Observer].
func (w *waiter) Moved(m rollout.Member, from rollout.State) {
	if m.State == rollout.None && from != rollout.Upgraded {
		delete(w.servers, m.PID) // another sender upgraded it
		return
	}
	if m.State != rollout.None {
		w.servers[m.PID] = m
	}
	w.moved(m)
}

// Rollout implements [controller.Observer].
func (w *waiter) Rollout(r rollout.Report) {
	if r.Superseded {
		clear(w.servers)
		return
	}
	w.rollout = r
	w.show(r)
	if r.Phase.IsOver() {
		w.done()
	}
}

// Round implements [controller.Observer]. When the install has changed, the report has it as it is now.
func (w *waiter) Round(reason api.Reason, r api.Report, _ time.Duration) {
	if reason == api.ReasonInstall && len(r.Installs) == 1 && r.Installs[0].State != selector.StateReady {
		w.lost(&r.Installs[0])
	}
}

// lost ends the wait where the install has no ready file any more: no server is signalled until another binary lands. It
// does nothing for nil.
func (w *waiter) lost(unready *selector.Install) {
	if unready != nil && w.unready == nil {
		w.unready = unready
		w.done()
	}
}

// Refused implements [controller.Observer].
func (w *waiter) Refused(m rollout.Member, err error) {
	w.say(fmt.Sprintf("server %d was not signalled: %s", m.PID, err))
}

// Trouble implements [controller.Observer].
func (w *waiter) Trouble(err error) { w.say(err.Error()) }

// progress shows how far a rollout has come: as a line that is written again on a terminal, as lines elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	phase    rollout.Phase
}

func newProgress(out io.Writer) progress { return progress{out: out, terminal: isTerminal(out)} }

// toLineStart moves the cursor to the start of its line, and clears the line.
const toLineStart = "\r\x1b[K"

func (p *progress) show(r rollout.Report) {
	if p.terminal {
		fmt.Fprintf(p.out, toLineStart+"%s: %d of %d", r.Phase, r.Settled(), r.Total())
		return
	}
	if r.Phase != p.phase {
		p.phase = r.Phase
		p.say(fmt.Sprintf("%s: %s", r.Phase, daemon.Outcomes(r)))
	}
}

func (p *progress) moved(m rollout.Member) {
	if p.terminal || m.State == rollout.None {
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
	if p.terminal {
		fmt.Fprint(p.out, toLineStart)
	}
}
