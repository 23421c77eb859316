// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/selector"
)

func newTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger --install-path PATH",
		Short: "Signal every outdated server now",
		Long: `Makes one round now: finds the servers, verifies each, and signals those that are
outdated, --self last. With --wait it follows each server until its result is known.
Where a service serves the install already, that service makes the round.`,
		Example: `  ebpf-upgrader trigger --install-path /usr/local/bin/rag-rat --dry-run
  ebpf-upgrader trigger --install-path /usr/local/bin/rag-rat --wait
  ebpf-upgrader trigger --install-path ~/.cargo/bin/rag-rat -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trigger(cmd.Context(), cmd.Flags()) },
	}
	a.addRoundFlags(cmd)
	f := cmd.Flags()
	a.opts.addRunDir(f)
	a.opts.addSettle(f)
	a.opts.addLimits(f, 0)
	f.BoolVar(&a.opts.dryRun, "dry-run", false, "plan, but send nothing")
	f.BoolVar(&a.opts.wait, "wait", false, "follow the rollout to its end, and print the result for each server")
	f.BoolVar(&a.opts.noService, "no-service", false, "fail where a service serves the install, instead of handing over to it")
	return cmd
}

// addRoundFlags adds the flags of the commands that judge servers.
func (a *app) addRoundFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelection(f)
	a.opts.addSelf(f)
	a.opts.addSource(f)
	a.opts.addOutput(f)
}

func (a *app) trigger(ctx context.Context, flags *pflag.FlagSet) error {
	if err := a.onePath(); err != nil {
		return err
	}
	if problem := a.opts.installProblem(); problem != "" {
		return a.nothingToDo(selector.Install{Path: a.opts.installPath(), State: selector.StateMissing, Detail: problem})
	}
	if err := errors.Join(a.needSelf(), a.needWait(flags)); err != nil {
		return err
	}
	way := install.RootedPath{Path: a.opts.installPath()}
	install.WaitSettled(ctx, way, a.opts.settle)
	installed := install.Stat(way) // a service that does it has opened the file already
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case installed.State == selector.StateMissing:
		return a.nothingToDo(installed)
	case installed.State != selector.StateReady:
		return fmt.Errorf("install %q is not ready: %s", installed.Path, installed.Detail)
	case a.opts.dryRun:
		return a.triggerAlone(ctx, installed)
	}
	held, err := lock.Acquire(a.opts.runPath(), a.opts.installPath(), "")
	if err != nil {
		return a.handOver(ctx, flags, err)
	}
	defer func() { _ = held.Release() }()
	if err := daemon.CheckConflict(a.opts.names, nil); err != nil {
		return err
	}
	checker := install.NewChecker()
	if installed = checker.Check(way); installed.State != selector.StateReady {
		return fmt.Errorf("install %q is not ready: %s", installed.Path, installed.Detail)
	}
	if a.opts.wait {
		return a.waitAlone(ctx, checker)
	}
	return a.triggerAlone(ctx, installed)
}

// needWait rejects limits that have no effect without --wait.
func (a *app) needWait(flags *pflag.FlagSet) error {
	if a.opts.wait && a.opts.dryRun {
		return usageError("--wait and --dry-run do not go together")
	}
	if a.opts.wait {
		return nil
	}
	for _, flag := range []string{"canary", "max-in-flight", "max-failures", "max-attempts", "group-hold", "hold", "quiet", "quiet-within", "canary-timeout", "confirm-timeout"} {
		if flags.Changed(flag) {
			return usageError("--%s needs --wait: without it, every server is signalled at once", flag)
		}
	}
	return nil
}

// handOver makes the service that holds the lock do the round.
func (a *app) handOver(ctx context.Context, flags *pflag.FlagSet, locked error) error {
	var holder *lock.HeldError
	switch {
	case !errors.As(locked, &holder):
		return locked
	case holder.Note == "":
		return fmt.Errorf("install %q is being upgraded by process %d", a.opts.installPath(), holder.PID)
	case a.opts.noService:
		return fmt.Errorf("install %q is served by process %d: leave out --no-service to hand over to it", a.opts.installPath(), holder.PID)
	}
	for _, flag := range []string{"user", "container", "no-containers", "name", "subcommand", "env", "signal", "source", "canary", "max-in-flight", "max-failures"} {
		if flags.Changed(flag) {
			return usageError("--%s: process %d serves the install with its own: leave the flag out, or stop the service", flag, holder.PID)
		}
	}
	client := control.NewClient(holder.Note)
	request := control.TriggerRequest{InstallPath: a.opts.installPath()}
	if flags.Changed("self") {
		request.Self = selector.PID(a.opts.self)
	}
	before, err := client.Status(ctx)
	if err != nil {
		return err
	}
	report, err := client.Trigger(ctx, request)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: handed to the service (process %d)\n", holder.PID)
	if a.opts.wait {
		return a.waitForService(ctx, client, before.Events+1)
	}
	return a.printRound(ctx, report.Only(api.IsServer), len(report.Plan))
}

func (a *app) triggerAlone(ctx context.Context, installed selector.Install) error {
	h, err := a.openHostOnce(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	candidates, err := h.Candidates(ctx)
	if err != nil {
		return err
	}
	if a.opts.dryRun {
		return a.printRound(ctx, h.Survey(ctx, &installed, candidates).Only(api.IsServer), 0)
	}
	return a.printRound(ctx, h.Round(ctx, installed, candidates).Only(api.IsServer), 0)
}

// printRound prints a round, and fails if servers remain outdated. toCome are those that a service will signal in their
// turn.
func (a *app) printRound(ctx context.Context, report api.Report, toCome int) error {
	if err := a.printTriggered(report); err != nil {
		return err
	}
	switch behind := report.Behind() - toCome; {
	case ctx.Err() != nil:
		return errInterrupted
	case behind > 0 && !a.opts.dryRun:
		return exitWith(exitBehind, fmt.Errorf("servers still outdated: %d", behind))
	}
	return nil
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
	switch {
	case a.opts.dryRun:
		last = fmt.Sprintf("%d signals planned, none sent", len(r.Plan))
	case len(r.Sent) == 0 && len(r.Plan) > 0:
		last = fmt.Sprintf("%d to be signalled in turn", len(r.Plan))
	}
	_, err := fmt.Fprintf(a.stdout, "%s; %s; source: %s\n", last, daemon.Verdicts(r), r.Source)
	return err
}

// nothingToDo says why no server is signalled. That is no failure: without an installed file no server is outdated.
func (a *app) nothingToDo(installed selector.Install) error {
	why := installed.Detail
	if a.opts.installProblem() == "" {
		why = fmt.Sprintf("install %q: %s", installed.Path, installed.Detail)
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: nothing to do: %s\n", printable(why))
	if a.opts.output != "json" {
		return nil
	}
	return printJSON(a.stdout, api.NewReport(api.SourceProc, selector.PID(a.opts.self), []selector.Install{installed}))
}
