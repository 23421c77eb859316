// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trigger(cmd.Context(), cmd.Flags()) },
	}
	a.opts.addRound(cmd.Flags())
	a.opts.addRunDir(cmd.Flags())
	a.opts.addTimeout(cmd.Flags())
	a.opts.addLimits(cmd.Flags())
	a.opts.addTrigger(cmd.Flags())
	return cmd
}

func (a *app) trigger(ctx context.Context, flags *pflag.FlagSet) error {
	if err := errors.Join(a.checkedPaths(), a.onePath(), a.needSelf(), a.conflictingFlags(flags)); err != nil {
		return err
	}
	path := install.RootedPath{Path: a.opts.installPath()}
	var installed *selector.Install // nil: those that the servers name
	if path.Path != "" {
		install.WaitSettled(ctx, path, a.opts.settle)
		found := install.Stat(path) // a service that does it has opened the file already
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case found.State == selector.StateMissing && a.opts.ifExists:
			return a.nothingToDo(found)
		case found.State != selector.StateReady:
			return notReady(found)
		}
		installed = &found
	}
	if a.opts.dryRun {
		return a.round(ctx, func(h *daemon.Host, candidates []selector.PID) api.Report {
			return h.Survey(ctx, installed, candidates)
		})
	}
	held, err := a.lock()
	if err != nil {
		return a.handOver(ctx, flags, err)
	}
	defer func() { _ = held.Release() }()
	if err := daemon.CheckConflict(a.opts.names, nil); err != nil {
		return a.handOverToHost(ctx, flags, err)
	}
	if a.opts.noWait {
		return exitWith(exitNoSource, errors.New("no service runs that --no-wait could hand over to: leave it out, or start one with run"))
	}
	checker := install.NewChecker()
	if installed != nil {
		if *installed = checker.Check(path); installed.State != selector.StateReady {
			return notReady(*installed)
		}
	}
	if a.opts.allAtOnce {
		fmt.Fprintln(a.stderr, "ebpf-upgrader: --all-at-once: signals every outdated server at once, without a canary: a bad binary ends them all")
		return a.round(ctx, func(h *daemon.Host, candidates []selector.PID) api.Report {
			return h.Round(ctx, *installed, candidates)
		})
	}
	return a.followAlone(ctx, checker)
}

// rolloutFlags have an effect on a rollout that is followed.
var rolloutFlags = []string{
	"canary", "max-in-flight", "max-failures", "max-late", "late-within", "max-attempts", "group-hold", "hold", "quiet", "quiet-within", "canary-timeout", "confirm-timeout",
	"arm-timeout",
}

// conflictingFlags rejects flags of which one would be ignored.
func (a *app) conflictingFlags(flags *pflag.FlagSet) error {
	o := &a.opts
	for _, c := range []struct {
		isSet  bool
		flag   string
		others []string
	}{
		{o.dryRun, "dry-run", append([]string{"all-at-once", "no-wait"}, rolloutFlags...)},
		{o.allAtOnce, "all-at-once", append([]string{"no-wait"}, rolloutFlags...)},
		{o.noWait, "no-wait", []string{"no-service"}},
	} {
		if i := slices.IndexFunc(c.others, flags.Changed); c.isSet && i >= 0 {
			return usageError("--%s and --%s do not go together", c.flag, c.others[i])
		}
	}
	if path := o.installPath(); path == "" && (o.allAtOnce || o.ifExists) {
		return usageError("--all-at-once and --if-exists need --install-path")
	}
	return nil
}

func notReady(i selector.Install) error {
	return fmt.Errorf("install %q is not ready: %s", i.Path, i.Detail)
}

// lock takes the lock on what is to be upgraded.
func (a *app) lock() (*lock.Lock, error) {
	if path := a.opts.installPath(); path != "" {
		return lock.Acquire(a.opts.runPath(), path, "")
	}
	return lock.AcquireHost(a.opts.runPath(), "")
}

// handOver makes the service that holds the lock do the round.
func (a *app) handOver(ctx context.Context, flags *pflag.FlagSet, locked error) error {
	holder, isHeld := errors.AsType[*lock.HeldError](locked)
	switch {
	case !isHeld:
		return locked
	case holder.Note == "":
		return fmt.Errorf("%w, which upgrades servers: wait for its end", locked)
	case a.opts.noService:
		return fmt.Errorf("process %d serves these servers: leave out --no-service to hand over to it", holder.PID)
	case a.opts.allAtOnce:
		return fmt.Errorf("process %d serves these servers, one after the other: leave out --all-at-once, or stop the service", holder.PID)
	}
	return a.handOverTo(ctx, flags, holder, append([]string{"name"}, othersFlags...))
}

// handOverToHost makes the host's service, which is of another user, do the round for this user. conflict is the error that
// it serves these servers.
func (a *app) handOverToHost(ctx context.Context, flags *pflag.FlagSet, conflict error) error {
	client := control.NewClient(hostSocket)
	client.Timeout, client.OnlyTrusted = a.opts.timeout, true
	status, err := client.Status(ctx)
	if err != nil || a.opts.noService || a.opts.allAtOnce {
		return conflict
	}
	return a.handOverTo(ctx, flags, &lock.HeldError{PID: int(status.PID), Note: hostSocket}, othersFlags)
}

// othersFlags have an effect on a service of this process only.
var othersFlags = append([]string{"user", "container", "no-containers", "subcommand", "env", "signal", "source", "max-entries", "retry-after"}, rolloutFlags...)

// handOverTo hands over to the service that listens on the socket in the note of holder. others are flags that it could not
// follow.
func (a *app) handOverTo(ctx context.Context, flags *pflag.FlagSet, holder *lock.HeldError, others []string) error {
	path := a.opts.installPath()
	if path == "" {
		others = append(slices.Clone(others), "settle")
	}
	if i := slices.IndexFunc(others, flags.Changed); i >= 0 {
		return usageError("--%s: process %d serves these servers with its own: leave the flag out, or stop the service", others[i], holder.PID)
	}
	client := control.NewClient(holder.Note)
	client.Timeout = a.opts.timeout
	before, err := client.Status(ctx)
	switch {
	case err != nil:
		return err
	case path == "" && !before.Learned:
		return fmt.Errorf("process %d serves other installs than all: give --install-path, or stop the service", holder.PID)
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: handed to the service (process %d)\n", holder.PID)
	f := a.newFollower(remote{client}, before.Events+1)
	if flags.Changed("self") {
		f.self = selector.PID(a.opts.self)
	}
	return f.follow(ctx)
}

// followAlone runs a service until its rollouts are over. checker has opened the install.
func (a *app) followAlone(ctx context.Context, checker *install.Checker) error {
	cfg, err := a.config()
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
		return a.newFollower(local{c, feed}, 1).follow(ctx)
	})
}

// round makes a single round of the candidates, and prints it.
func (a *app) round(ctx context.Context, work func(*daemon.Host, []selector.PID) api.Report) error {
	h, err := a.openHostOnce(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	candidates, err := h.Candidates(ctx)
	if err != nil {
		return err
	}
	report := work(h, candidates).Only(api.IsServer)
	if err := a.printTriggered(report); err != nil {
		return err
	}
	switch behind := report.Behind(); {
	case ctx.Err() != nil:
		return errInterrupted
	case behind > 0 && !a.opts.dryRun:
		return stillOutdated(behind)
	}
	return nil
}

func stillOutdated(n int) error {
	return exitWith(exitBehind, fmt.Errorf("servers still outdated: %d", n))
}

func (a *app) printTriggered(r api.Report) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, r)
	}
	if err := printServers(a.stdout, r); err != nil {
		return err
	}
	if len(r.Servers) > 0 {
		fmt.Fprintln(a.stdout)
	}
	last := fmt.Sprintf("%d of %d planned signals sent", len(r.Sent), len(r.Plan))
	if a.opts.dryRun {
		last = fmt.Sprintf("%d signals planned, none sent", len(r.Plan))
	}
	_, err := fmt.Fprintf(a.stdout, "%s; %s; source: %s\n", last, daemon.Verdicts(r), sourceOf(r))
	return err
}

// nothingToDo says why no server is signalled, where that is no failure.
func (a *app) nothingToDo(installed selector.Install) error {
	fmt.Fprintf(a.stderr, "ebpf-upgrader: nothing to do: install %s: %s\n", printable(fmt.Sprintf("%q", installed.Path)), printable(installed.Detail))
	if a.opts.output != "json" {
		return nil
	}
	return printJSON(a.stdout, newOutcome(nil))
}
