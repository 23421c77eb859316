// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/control"
	"ebpf-upgrader/install"
	"ebpf-upgrader/selector"
)

func newExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain PID",
		Short: "Show each check of one process, in order, with what was read",
		Example: `  ebpf-upgrader explain 812
  ebpf-upgrader explain 812 --install-path /usr/local/bin/rag-rat`,
		Args: onePID,
		RunE: func(cmd *cobra.Command, args []string) error { return a.explain(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelection(f)
	a.addAskFlags(f)
	a.opts.addOutput(f)
	return cmd
}

func onePID(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError("explain takes one process number, as in: explain 812")
	}
	return nil
}

// explanation is what explain prints as JSON.
type explanation struct {
	SchemaVersion int              `json:"schema_version"`
	PID           selector.PID     `json:"pid"`
	Install       selector.Install `json:"install"`
	Checks        []selector.Check `json:"checks"`
	selector.Decision
	// Gate is where the process stands: behind the gate of a running service, outside of it, or empty where there is no
	// gate that could be asked.
	Gate string `json:"gate"`
}

func (a *app) explain(ctx context.Context, arg string) error {
	pid, err := strconv.ParseInt(arg, 10, 32)
	if err != nil || pid <= 0 {
		return usageError("%q is not a process number", arg)
	}
	if err := errors.Join(a.checkedPaths(), a.onePath()); err != nil {
		return err
	}
	h, err := a.openProc()
	if err != nil {
		return err
	}
	defer h.close()
	rule := a.opts.rule()
	if path := a.opts.installPath(); path != "" {
		rule.Install = install.Glance(install.Way{Path: path})
	}
	process, err := h.Inspect(selector.PID(pid), rule, time.Time{})
	switch {
	case errors.Is(err, selector.ErrGone):
		return fmt.Errorf("explain %d: no such process", pid)
	case err != nil:
		return fmt.Errorf("explain %d: %w", pid, err)
	}
	if a.opts.installPath() == "" {
		rule.Install = newCompared(h.procfs).Of(process)
	}
	return a.printExplanation(explanation{
		1, selector.PID(pid), rule.Install, rule.Explain(process), rule.Judge(process), a.behindGate(ctx, selector.PID(pid)),
	})
}

// The places of a process.
const (
	behindGate    = "behind"
	outsideOfGate = "outside"
)

// behindGate asks a service, if one runs and answers.
func (a *app) behindGate(ctx context.Context, pid selector.PID) string {
	ctx, cancel := context.WithTimeout(ctx, asksWithin)
	defer cancel()
	covered, err := control.NewClient(a.opts.socketPath()).Gate(ctx, pid)
	switch {
	case err != nil || !covered.Active:
		return ""
	case covered.Covers:
		return behindGate
	}
	return outsideOfGate
}

func (a *app) printExplanation(e explanation) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, e)
	}
	table := newColumns(a.stdout)
	for _, c := range e.Checks {
		mark := "ok"
		if !c.Passed {
			mark = "no"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", mark, c.Name, printable(c.Read))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	would := "would not be signalled"
	if e.Verdict == selector.Outdated {
		would = "would be signalled"
	}
	gate := ""
	switch e.Gate {
	case behindGate:
		gate = "; signals of other servers to it are refused by the service's gate"
	case outsideOfGate:
		gate = "; it is outside of the service's gate"
	}
	_, err := fmt.Fprintf(a.stdout, "\n%d is %s: %s%s\n", e.PID, e.Verdict, would, gate)
	return err
}
