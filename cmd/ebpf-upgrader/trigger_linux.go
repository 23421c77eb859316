// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ebpf-upgrader/install"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

func newTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger --install-path PATH",
		Short: "Make one round now: signal every outdated server",
		Long: `Makes one round now: finds the servers, verifies each, and signals those that are
outdated, --self last. Does not wait for what they make of it.`,
		Example: `  ebpf-upgrader trigger --install-path /usr/local/bin/rag-rat --dry-run
  ebpf-upgrader trigger --install-path ~/.cargo/bin/rag-rat -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.trigger(cmd.Context()) },
	}
	a.addRoundFlags(cmd)
	a.opts.addSettle(cmd.Flags())
	cmd.Flags().BoolVar(&a.opts.dryRun, "dry-run", false, "plan, but send nothing")
	return cmd
}

// addRoundFlags adds the flags of the commands that judge servers.
func (a *app) addRoundFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelf(f)
	a.opts.addSource(f)
	a.opts.addOutput(f)
}

func (a *app) trigger(ctx context.Context) error {
	if problem := a.opts.installProblem(); problem != "" {
		return a.nothingToDo(selector.Install{Path: a.opts.installPath, State: selector.StateMissing, Detail: problem})
	}
	if err := a.needSelf(); err != nil {
		return err
	}
	installed := install.Settled(ctx, a.opts.installPath, a.opts.settle)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case installed.State == selector.StateMissing:
		return a.nothingToDo(installed)
	case installed.State != selector.StateReady:
		return fmt.Errorf("install %q is not ready: %s", installed.Path, installed.Detail)
	}
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.close()
	return a.triggerOn(ctx, h, installed)
}

func (a *app) triggerOn(ctx context.Context, h *host, installed selector.Install) error {
	candidates, err := h.Candidates(ctx)
	if err != nil {
		return err
	}
	round := a.upgrader(h).Round
	if a.opts.dryRun {
		round = a.upgrader(h).Survey
	}
	report := round(ctx, installed, candidates)
	if err := a.printTriggered(report.Only(upgrade.IsServer)); err != nil {
		return err
	}
	switch behind := report.Behind(); {
	case ctx.Err() != nil:
		return errInterrupted
	case behind > 0 && !a.opts.dryRun:
		return exitWith(exitBehind, fmt.Errorf("servers still outdated: %d", behind))
	}
	return nil
}

func (a *app) printTriggered(r upgrade.Report) error {
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
	_, err := fmt.Fprintf(a.stdout, "%s; %s; source: %s\n", last, summary(r), r.Source)
	return err
}

// nothingToDo says why there is nobody to be signalled. That is no failure: an install that is not
// there is outdated for nobody.
func (a *app) nothingToDo(installed selector.Install) error {
	why := installed.Detail
	if a.opts.installProblem() == "" {
		why = fmt.Sprintf("install %q: %s", installed.Path, installed.Detail)
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: nothing to do: %s\n", printable(why))
	if a.opts.output != "json" {
		return nil
	}
	return printJSON(a.stdout, upgrade.New(upgrade.Config{
		Self: selector.PID(a.opts.self), Source: upgrade.SourceProc,
	}).Survey(context.Background(), installed, nil))
}
