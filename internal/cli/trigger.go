// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/selector"
)

func newTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger",
		Short: "Upgrade every outdated server now, and follow that to its end",
		Long: `Upgrades the outdated servers now, as carefully as run: one server goes first, each
is signalled when it is idle, and a death halts the rest of that user. Follows each
server until its result is known. Without --install-path, each server is compared with
the file that it names itself. Where a service serves the servers, that service does it.`,
		Example: `  ebpf-upgrader trigger --dry-run
  ebpf-upgrader trigger
  ebpf-upgrader trigger --install-path ~/.cargo/bin/rag-rat -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return (&trigger{a, cmd.Flags()}).run(cmd.Context())
		},
	}
	a.opts.use(cmd, roundFlags, triggerFlags, rolloutFlags, "settle retry-after run-dir timeout")
	return cmd
}

// trigger is one call of the command.
type trigger struct {
	*app
	flags *pflag.FlagSet
}

func (t *trigger) run(ctx context.Context) error {
	if err := errors.Join(t.opts.needOnePath(), t.opts.needSelf(), t.rejectConflictingFlags()); err != nil {
		return err
	}
	path := install.RootedPath{Path: t.opts.installPath()}
	if path.Path != "" {
		install.WaitSettled(ctx, path, t.opts.settle)
		found := install.Stat(path) // a service that does it has opened the file already
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case found.State == selector.StateMissing && t.opts.ifExists:
			return t.nothingToDo(found)
		case found.State != selector.StateReady:
			return notReady(found)
		}
	}
	if t.opts.dryRun {
		return t.plan(ctx)
	}
	held, err := t.lock()
	if err != nil {
		return t.handOver(ctx, err)
	}
	defer func() { _ = held.Release() }()
	if err := daemon.CheckConflict(t.opts.names, nil); err != nil {
		return t.handOverToHost(ctx, err)
	}
	if t.opts.noWait {
		return exitWith(exitNoSource, errors.New("no service runs that --no-wait could hand over to: leave it out, or start one with run"))
	}
	checker := install.NewChecker()
	if path.Path != "" {
		if found := checker.Check(path); found.State != selector.StateReady {
			return notReady(found)
		}
	}
	return t.followAlone(ctx, checker)
}

// rejectConflictingFlags rejects flags of which one would be ignored.
func (t *trigger) rejectConflictingFlags() error {
	if other := t.firstGiven("no-wait " + rolloutFlags); t.opts.dryRun && other != "" {
		return usageError("--dry-run and --%s do not go together", other)
	}
	if t.opts.noWait && t.flags.Changed("no-service") {
		return usageError("--no-wait and --no-service do not go together")
	}
	if t.opts.ifExists && t.opts.installPath() == "" {
		return usageError("--if-exists needs --install-path")
	}
	return nil
}

// firstGiven is the first of some flags that was given, or empty.
func (t *trigger) firstGiven(flags string) string {
	for flag := range strings.FieldsSeq(flags) {
		if t.flags.Changed(flag) {
			return flag
		}
	}
	return ""
}

func notReady(i selector.Install) error {
	return fmt.Errorf("install %q is not ready: %s", i.Path, i.Detail)
}

// lock takes the lock on what is to be upgraded.
func (t *trigger) lock() (*lock.Lock, error) {
	if path := t.opts.installPath(); path != "" {
		return lock.Acquire(t.opts.runPath(), path, "")
	}
	return lock.AcquireHost(t.opts.runPath(), "")
}

// handOver makes the service that holds the lock upgrade the servers.
func (t *trigger) handOver(ctx context.Context, locked error) error {
	holder, isHeld := errors.AsType[*lock.HeldError](locked)
	switch {
	case !isHeld:
		return locked
	case holder.Note == "":
		return fmt.Errorf("%w, which upgrades servers: wait for its end", locked)
	case t.opts.noService:
		return fmt.Errorf("process %d serves these servers: leave out --no-service to hand over to it", holder.PID)
	}
	return t.handOverTo(ctx, holder, "name "+othersFlags)
}

// handOverToHost makes the host's service, which is of another user, upgrade the servers of this user. conflict is the error that
// it serves these servers.
func (t *trigger) handOverToHost(ctx context.Context, conflict error) error {
	client := control.NewClient(hostSocket)
	client.Timeout, client.OnlyTrusted = t.opts.timeout, true
	status, err := client.Status(ctx)
	if err != nil || t.opts.noService {
		return conflict
	}
	return t.handOverTo(ctx, &lock.HeldError{PID: int(status.PID), Note: hostSocket}, othersFlags)
}

// othersFlags have an effect on a service of this process only.
const othersFlags = selectionFlags + " subcommand env signal " + sourceFlags + " retry-after " + rolloutFlags

// handOverTo hands over to the service that listens on the socket in the note of holder. others are flags that it could not
// follow.
func (t *trigger) handOverTo(ctx context.Context, holder *lock.HeldError, others string) error {
	path := t.opts.installPath()
	if path == "" {
		others += " settle"
	}
	if other := t.firstGiven(others); other != "" {
		return usageError("--%s: process %d serves these servers with its own: leave the flag out, or stop the service", other, holder.PID)
	}
	client := control.NewClient(holder.Note)
	client.Timeout = t.opts.timeout
	before, err := client.Status(ctx)
	switch {
	case err != nil:
		return err
	case path == "" && !before.Learned:
		return fmt.Errorf("process %d serves other installs than all: give --install-path, or stop the service", holder.PID)
	}
	fmt.Fprintf(t.stderr, "ebpf-upgrader: handed to the service (process %d)\n", holder.PID)
	f := newFollower(t.app, client, before.Events+1)
	if t.flags.Changed("self") {
		f.self = selector.PID(t.opts.self)
	}
	return f.follow(ctx)
}

// followAlone runs a service until its rollouts are over. checker has opened the install.
func (t *trigger) followAlone(ctx context.Context, checker *install.Checker) error {
	cfg, err := t.config()
	if err != nil {
		return err
	}
	h, err := daemon.OpenHost(ctx, cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	feed := control.NewFeed()
	return h.Follow(ctx, checker.CachedChecks(), feed, func(ctx context.Context, c *controller.Controller) error {
		return newFollower(t.app, local{c, feed}, 1).follow(ctx)
	})
}

// plan prints what would be signalled.
func (t *trigger) plan(ctx context.Context) error {
	h, err := t.openHostOnce(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	candidates, err := h.Candidates(ctx)
	if err != nil {
		return err
	}
	report := h.Survey(ctx, t.opts.installPath(), candidates).Only(api.IsServer)
	err = t.answer(report, func(w io.Writer) error {
		return t.printPlan(w, report, fmt.Sprintf("%d signals planned, none sent", len(report.Plan)))
	})
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return err
}

// printPlan writes the servers of a report, and what is planned in one line that begins with first.
func (a *app) printPlan(w io.Writer, r api.Report, first string) error {
	if err := a.printServers(w, r); err != nil {
		return err
	}
	if len(r.Servers) > 0 {
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%s; %s; source: %s\n", first, daemon.Verdicts(r), sourceOf(r))
	return err
}

// nothingToDo says why no server is signalled, where that is no failure.
func (t *trigger) nothingToDo(installed selector.Install) error {
	fmt.Fprintf(t.stderr, "ebpf-upgrader: nothing to do: install %s: %s\n", printable(fmt.Sprintf("%q", installed.Path)), printable(installed.Detail))
	return t.answer(newOutcome(nil), func(io.Writer) error { return nil })
}
