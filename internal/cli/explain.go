// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/selector"
)

func newExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain PID",
		Short: "Show each check of one process, in order, with what was read",
		Example: `  ebpf-upgrader explain 812
  ebpf-upgrader explain 812 --install-path /usr/local/bin/rag-rat`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("explain takes one process number, as in: explain 812")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.explain(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	a.opts.addInstallPath(f)
	a.opts.addRule(f)
	a.opts.addSelection(f)
	a.addClientFlags(f)
	a.opts.addOutput(f)
	return cmd
}

// explanation is what explain prints as JSON.
type explanation struct {
	SchemaVersion int              `json:"schema_version"`
	PID           selector.PID     `json:"pid"`
	Install       selector.Install `json:"install"`
	Checks        []selector.Check `json:"checks"`
	selector.Decision
	// Gate is "behind" if the gate of a running service covers the process, "outside" if not, and empty where there is no
	// gate.
	Gate string `json:"gate"`
	// Idle says whether a server that would be signalled is idle: "yes" or "no", by its threads alone where its reads and
	// writes cannot be read. It is empty for any other.
	Idle      string `json:"idle"`
	IsCounted bool   `json:"io_counted"`
	// Waits says why the service does not signal it yet: for how long it has been busy, or that the journal cannot be written.
	// Empty: nothing is waited for.
	Waits string `json:"waits"`
}

func (a *app) explain(ctx context.Context, arg string) error {
	pid, err := strconv.ParseInt(arg, 10, 32)
	if err != nil || pid <= 0 {
		return usageError("%q is not a process number", arg)
	}
	if err := errors.Join(a.checkedPaths(), a.onePath()); err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	h, err := daemon.OpenProc(cfg)
	if err != nil {
		return err
	}
	defer h.Close()
	rule := a.opts.rule()
	if path := a.opts.installPath(); path != "" {
		rule.Install = install.Stat(install.RootedPath{Path: path})
	}
	process, err := h.Inspect(selector.PID(pid), rule, time.Time{})
	switch {
	case errors.Is(err, selector.ErrGone):
		return fmt.Errorf("explain %d: no such process", pid)
	case err != nil:
		return fmt.Errorf("explain %d: %w", pid, err)
	}
	if a.opts.installPath() == "" {
		rule.Install = h.NamedInstalls().Of(process)
	}
	e := explanation{
		SchemaVersion: 1, PID: selector.PID(pid), Install: rule.Install, Checks: rule.Explain(process), Decision: rule.Judge(process),
	}
	if e.Verdict == selector.Outdated {
		e.Idle, e.IsCounted = idleness(h.FS(), process)
	}
	e.askService(ctx, control.NewClient(a.opts.socketPath()), process.Identity)
	return a.printExplanation(e)
}

// idleness watches a process for as long as it must be idle.
func idleness(fs *procfs.FS, p selector.Process) (idle string, isCounted bool) {
	a, err := fs.Activity(p.PID)
	if err != nil {
		return "", false
	}
	w := quiet.New(fs, defaultQuiet)
	w.Begin(p.Identity, p.Credentials.Owner)
	time.Sleep(defaultQuiet)
	if w.Judge(p.Identity, p.Credentials.Owner) == selector.IdleYes {
		return "yes", a.IsCounted
	}
	return "no", a.IsCounted
}

// queryTimeout limits a query of the service that only adds to what is shown.
const queryTimeout = time.Second

// askService adds what a service knows of the process. Where none answers, nothing is added.
func (e *explanation) askService(ctx context.Context, client *control.Client, id selector.Identity) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if covered, err := client.Gate(ctx, id.PID); err == nil && covered.Active {
		e.Gate = "outside"
		if covered.Covers {
			e.Gate = "behind"
		}
	}
	servers, _ := client.Servers(ctx) // none where the service has just ended
	for _, s := range servers {
		switch {
		case s.PID != id.PID || s.StartTime != id.StartTime:
		case s.Verdict == selector.OverLimit:
			e.Decision, e.Idle = s.Decision, ""
		case s.Rollout != nil && e.Verdict == selector.Outdated:
			e.Waits = s.Rollout.Busy(time.Now())
		}
	}
	if e.Verdict != selector.Outdated {
		return
	}
	if status, err := client.Status(ctx); err == nil {
		e.Waits = cmp.Or(status.JournalError, e.Waits)
	}
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
	switch e.Verdict {
	case selector.Outdated:
		would = "would be signalled"
	case selector.OverLimit:
		would += ": " + e.Detail
	}
	gate := map[string]string{
		"behind":  "; signals of other servers to it are refused by the service's gate",
		"outside": "; it is outside of the service's gate",
	}[e.Gate]
	_, err := fmt.Fprintf(a.stdout, "\n%d is %s: %s%s%s\n", e.PID, e.Verdict, would, idleClause(e), gate)
	return err
}

func idleClause(e explanation) string {
	clause := ""
	switch e.Idle {
	case "yes":
		clause = ", and is idle"
	case "no":
		clause = " as soon as it is idle"
	default:
		return ""
	}
	if !e.IsCounted {
		clause += " (by its threads: its reads and writes cannot be read)"
	}
	if e.Waits != "" {
		clause += "; the service waits for it: " + e.Waits
	}
	return clause
}
