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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

func newExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain PID",
		Short: "Show each check of one process, and what will happen to it",
		Long: `Shows each check of one process, in order, with what was read: ok, no, or -- where no
signal is needed. The last line says what will happen and when, as the running service
knows. For a server that is not armed, it says how to arm it.`,
		Example: `  ebpf-upgrader explain 812
  ebpf-upgrader explain 812 --install-path /usr/local/bin/rag-rat`,
		Args: takesOne("process number", "812"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.explain(cmd.Context(), args[0]) },
	}
	a.opts.use(cmd, ruleFlags, selectionFlags, clientFlags, "install-path output")
	return cmd
}

// explanation is what explain prints as JSON.
type explanation struct {
	SchemaVersion int              `json:"schema_version"`
	PID           selector.PID     `json:"pid"`
	UID           uint32           `json:"uid"`
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
	// Service is the process of the service that was asked; absent: none answered. Rollout and Wait are what it knows.
	Service selector.PID    `json:"service,omitzero"`
	Rollout *rollout.Member `json:"rollout,omitempty"`
	Wait    rollout.Wait    `json:"wait,omitzero"`
	// Runs is what the file of its image says of itself, where the service has opened that.
	Runs selector.Build `json:"runs,omitzero"`
	// Outlook is what will happen, and when.
	Outlook string `json:"outlook"`

	startTime uint64
}

func (a *app) explain(ctx context.Context, arg string) error {
	pid, err := strconv.ParseInt(arg, 10, 32)
	if err != nil || pid <= 0 {
		return usageError("%q is not a process number", arg)
	}
	if err := a.opts.needOnePath(); err != nil {
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
		SchemaVersion: api.SchemaVersion, PID: selector.PID(pid), startTime: process.StartTime, UID: process.Credentials.Owner.UID, Install: rule.Install,
		Checks: rule.Explain(process), Decision: rule.Judge(process),
	}
	if e.Verdict == selector.Outdated {
		e.Idle, e.IsCounted = idleness(h.FS(), process)
	}
	known := a.askService(ctx)
	e.take(ctx, known, process)
	e.Outlook = outlook{&e, known, rule, time.Now(), a.names}.line()
	return a.answer(e, func(w io.Writer) error { return e.print(w, rule) })
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

// take adds what a service knows of the process. Where none answers, nothing is added.
func (e *explanation) take(ctx context.Context, known *knowledge, process selector.Process) {
	if known.err != nil {
		return
	}
	e.Service = known.status.PID
	if at := slices.IndexFunc(known.status.Installs, func(i api.InstallStatus) bool { return i.SameFile(e.Install) }); at >= 0 {
		e.Install.Build = known.status.Installs[at].Build
	}
	if covered, err := known.client.Gate(ctx, process.PID); err == nil && covered.Active {
		e.Gate = "outside"
		if covered.Covers {
			e.Gate = "behind"
		}
	}
	s := known.of(process.Identity)
	switch {
	case s == nil:
		return
	case s.Verdict == selector.OverLimit:
		e.Decision, e.Idle = s.Decision, ""
	}
	if s.Image == process.Image {
		e.Runs = s.Runs
	}
	e.Rollout, e.Wait = s.Rollout, s.Wait
	if e.Verdict == selector.Outdated {
		e.Waits = known.status.JournalError
		if s.Rollout != nil {
			e.Waits = cmp.Or(e.Waits, s.Rollout.Busy(time.Now()))
		}
	}
}

// marks are the words for the outcomes of a check.
var marks = map[selector.CheckState]string{selector.Passed: "ok", selector.Failed: "no", selector.NotNeeded: "--"}

// print writes a row for each check of the rule, and below what follows from them.
func (e *explanation) print(w io.Writer, rule selector.Rule) error {
	table := screen.NewTable("", "", "")
	for _, c := range e.Checks {
		table.Add(cell(marks[c.State]), cell(c.Name), cell(c.Read))
	}
	if err := table.Write(w, screen.Look{}); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d is %s%s%s\n", e.PID, e.Verdict, memberClause(e.Rollout, time.Now()), e.idleClause())
	if binaries := e.binaries(); binaries != "" {
		fmt.Fprintln(w, printable(binaries))
	}
	switch e.Gate {
	case "behind":
		fmt.Fprintln(w, "signals of other servers to it are refused by the service's gate")
	case "outside":
		fmt.Fprintln(w, "it is outside of the service's gate")
	}
	if e.Verdict == selector.NotArmed {
		fmt.Fprint(w, howToArm(rule))
	}
	_, err := fmt.Fprintln(w, printable(e.Outlook))
	return err
}

// binaries names the file that the process runs and the installed one, where the service has read what they say of
// themselves.
func (e *explanation) binaries() string {
	var parts []string
	if runs := e.Runs.String(); runs != "" {
		parts = append(parts, "runs "+runs)
	}
	if installed := e.Install.Build.String(); installed != "" && e.Verdict != selector.UpToDate {
		parts = append(parts, "installed is "+installed)
	}
	return strings.Join(parts, "; ")
}

// memberClause is the state in the rollout.
func memberClause(m *rollout.Member, now time.Time) string {
	if m == nil || m.State == rollout.None {
		return ""
	}
	return fmt.Sprintf("; %s since %s in rollout %d, signalled %s", m.State, clock(m.Since, now), m.Rollout, timesWord(m.Attempts))
}

func (e *explanation) idleClause() string {
	clause := map[string]string{"yes": "; it is idle", "no": "; it is busy"}[e.Idle]
	if clause != "" && !e.IsCounted {
		clause += " (by its threads: its reads and writes cannot be read)"
	}
	return clause
}

// howToArm says how a server gets the variable, with an entry of the agent's configuration for each kind of binary.
func howToArm(rule selector.Rule) string {
	name := rule.Names[0]
	entry := func(command, variable string) string {
		return fmt.Sprintf(`    "mcpServers": {
      %q: {
        "command": %q,
        "args": [%q],
        "env": {%q: %q}
      }
    }
`, name, command, rule.Subcommand, rule.Variable, variable)
	}
	cargo := "/home/USER/.cargo/bin/" + name
	return strings.Join([]string{
		fmt.Sprintf("\nTo arm it, set %s in the agent's MCP configuration to the path at which new binaries are installed,", rule.Variable),
		"and start the session anew. For a binary that cargo installs:\n",
		entry(cargo, cargo),
		"For a binary that an agent's plugin keeps in a folder for each version, the path of a link that leads to the latest one:\n",
		entry("/home/USER/.cache/agent/plugins/"+name+"/1.4.2/"+name, "/home/USER/.local/bin/"+name),
		"The path must be absolute, and the server's user must be able to execute the file.\n\n",
	}, "\n")
}
