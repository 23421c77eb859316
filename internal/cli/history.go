// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

func newHistory(a *app) *cobra.Command {
	var flags filterFlags
	cmd := &cobra.Command{
		Use:   "history [INSTALL]",
		Short: "Show the rollouts that are over, and those under way; the newest last",
		Long: `Shows each rollout that had servers: when it began, how long it took, what was
installed, and what became of the servers, with each death. It is kept over restarts
and reboots, in the --state-dir. Where no service runs, it is read from there.`,
		Example: `  ebpf-upgrader history
  ebpf-upgrader history /usr/local/bin/rag-rat --since 3d
  ebpf-upgrader history -o json | jq '.rollouts[] | select(.deaths != [])'`,
		Args: takesOneAtMost("path", "/usr/local/bin/rag-rat"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.opts.installPaths = args
			if err := a.opts.checkInstallPaths(); err != nil {
				return err
			}
			filter, err := flags.filter(&a.opts, time.Now())
			if err != nil {
				return err
			}
			var records []api.RolloutRecord
			err = a.withKept(cmd.Context(), func(c *control.Client) (err error) {
				records, err = c.History(cmd.Context(), filter)
				return err
			}, func(kept *control.Feed) error {
				records = append(records, kept.Records(filter)...)
				return nil
			})
			if err != nil {
				return err
			}
			data := control.History{SchemaVersion: api.SchemaVersion, Rollouts: append([]api.RolloutRecord{}, records...)}
			return a.answer(data, func(w io.Writer) error { return a.newView(w).rollouts(w, records) })
		},
	}
	a.opts.use(cmd, clientFlags, "user state-dir output")
	flags.add(cmd.Flags())
	return cmd
}

// withKept queries the service. Where none runs, it passes what each earlier service has kept to read.
func (a *app) withKept(ctx context.Context, query func(*control.Client) error, read func(*control.Feed) error) error {
	c, err := a.findService(ctx)
	if err == nil {
		return whatToDo(c.Path(), query(c))
	}
	dir, dirErr := a.opts.statePath()
	if exitCode(err, true) != exitNoSource || dirErr != nil {
		return err
	}
	feeds, readErr := daemon.ReadHistory(dir)
	if len(feeds) == 0 {
		return err
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: no service runs: this is what was kept in %s\n", printable(dir))
	if readErr != nil {
		fmt.Fprintf(a.stderr, "ebpf-upgrader: not all of it can be read: %s\n", printable(readErr.Error()))
	}
	for _, feed := range feeds {
		if err := read(feed); err != nil {
			return err
		}
	}
	return nil
}

// rollouts writes a table of rollouts, and the deaths below it.
func (v view) rollouts(w io.Writer, records []api.RolloutRecord) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "no rollouts")
		return err
	}
	table := screen.Table{Columns: []screen.Column{
		{Title: "NUMBER"},
		{Title: "BEGUN"},
		{Title: "DURATION", Drop: 2},
		{Title: "USERS", Drop: 1},
		{Title: "INSTALL", Shrinks: screen.Middle, Enough: 16},
		{Title: "BINARY", Drop: 3},
		{Title: "OUTCOME", Shrinks: screen.End, Enough: 24},
	}}
	var notes []string
	for i := range records {
		r := &records[i]
		style, duration := screen.Plain, "-"
		if r.Servers[rollout.Crashed] > 0 || r.Phase == rollout.PhaseHalted {
			style = screen.Bad
		}
		switch {
		case !r.Ended.IsZero():
			duration = took(r.Ended.Sub(r.Started))
		case r.Current:
			duration = took(v.now.Sub(r.Started)) + " by now"
		}
		table.Add(cell(fmt.Sprint(r.Number)), cell(r.Started.Local().Format(time.DateTime)), cell(duration), cell(v.names.list(r.Users)),
			cell(r.Install.Path), cell(binariesText(r)), styled(outcomeText(r), style))
		for _, note := range historyNotes(r, v.names) {
			notes = append(notes, v.Wrap(printable(fmt.Sprintf("rollout %d: %s", r.Number, note)), 2))
		}
	}
	if err := table.Write(w, v.Look); err != nil || len(notes) == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(notes, "\n"))
	return err
}

// binariesText is what the servers ran, and what was installed.
func binariesText(r *api.RolloutRecord) string {
	installed := selector.Binary{Image: r.Install.Image, Build: r.Install.Build}
	switch len(r.From) {
	case 0:
		return installed.String()
	case 1:
		if r.From[0].String() == installed.String() { // a copy
			return fmt.Sprintf("%s (%s -> %s)", installed, r.From[0].Image, installed.Image)
		}
		return fmt.Sprintf("%s -> %s", r.From[0], installed)
	}
	return fmt.Sprintf("%s and %d more -> %s", r.From[0], len(r.From)-1, installed)
}

// outcomeText is what became of a rollout and of its servers.
func outcomeText(r *api.RolloutRecord) string {
	outcome := string(r.Phase)
	switch {
	case r.Phase.IsOver(), r.Current:
	case r.Superseded:
		outcome = "superseded by another file"
	default:
		outcome = "interrupted: the service did not go on with it"
	}
	return outcome + ": " + daemon.Outcomes(rollout.Report{Servers: r.Servers})
}

// historyNotes are the deaths, or else the reasons of a halt.
func historyNotes(r *api.RolloutRecord, names *userNames) (notes []string) {
	for _, d := range r.Deaths {
		what := "server"
		if d.Canary {
			what = "canary"
		}
		note := fmt.Sprintf("%s %s %d of %s died: %s", d.Time.Local().Format(time.DateTime), what, d.PID, names.inText(d.UID), d.Detail)
		if d.ByOther {
			note += ", after a signal of another sender"
		}
		notes = append(notes, note)
	}
	if more := r.Servers[rollout.Crashed] - len(r.Deaths); more > 0 && len(r.Deaths) > 0 {
		notes = append(notes, fmt.Sprintf("and %d more", more))
	}
	if len(notes) > 0 {
		return notes
	}
	for _, h := range r.Halts {
		notes = append(notes, fmt.Sprintf("%s halted for %s: %s", h.Since.Local().Format(time.DateTime), names.inText(h.UID), h.Reason))
	}
	return notes
}
