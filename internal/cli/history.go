// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
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
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] == "" {
				return usageError("INSTALL must not be empty")
			}
			a.opts.installPaths = args
			if err := a.opts.checkInstallPaths(); err != nil {
				return err
			}
			filter, err := a.filter(flags, time.Now())
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
			return a.printHistory(records, time.Now())
		},
	}
	a.addClientFlags(cmd.Flags())
	a.addFilter(cmd.Flags(), &flags)
	a.opts.addStateDir(cmd.Flags())
	a.opts.addOutput(cmd.Flags())
	return cmd
}

// withKept queries the service. Where none runs, it passes what each earlier service has kept to read.
func (a *app) withKept(ctx context.Context, query func(*control.Client) error, read func(*control.Feed) error) error {
	c, err := a.findService(ctx)
	if err == nil {
		return whatToDo(c.Path(), query(c))
	}
	dir, dirErr := a.opts.statePath()
	if exit, isExit := errors.AsType[*exitError](err); !isExit || exit.code != exitNoSource || dirErr != nil {
		return err
	}
	feeds, readErr := daemon.ReadHistory(dir)
	if len(feeds) == 0 {
		return err
	}
	a.keptNote(dir, readErr)
	for _, feed := range feeds {
		if err := read(feed); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printHistory(records []api.RolloutRecord, now time.Time) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, control.History{SchemaVersion: api.SchemaVersion, Rollouts: append([]api.RolloutRecord{}, records...)})
	}
	if len(records) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no rollouts")
		return err
	}
	rows := [][]string{{"NUMBER", "BEGUN", "DURATION", "USERS", "INSTALL", "BINARY", "OUTCOME"}}
	notes := [][]string{nil}
	for i := range records {
		rows = append(rows, historyRow(&records[i], now))
		notes = append(notes, historyNotes(&records[i]))
	}
	return printRows(a.stdout, rows, notes)
}

// printRows writes aligned rows, each with its notes below it.
func printRows(w io.Writer, rows, notes [][]string) error {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	for i, row := range rows {
		last := len(row) - 1
		for j, cell := range row[:last] {
			text.WriteString(cell + strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(&text, row[last])
		for _, note := range notes[i] {
			fmt.Fprintf(&text, "%*s  %s\n", widths[0], "", note)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func historyRow(r *api.RolloutRecord, now time.Time) []string {
	return []string{
		fmt.Sprint(r.Number), localTime(r.Started), tookText(r, now), usersText(r.Users),
		cut(printable(r.Install.Path), widestPath), printable(binariesText(r)), outcomeText(r),
	}
}

// tookText is how long a rollout took, or takes by now.
func tookText(r *api.RolloutRecord, now time.Time) string {
	switch {
	case !r.Ended.IsZero():
		return duration(r.Ended.Sub(r.Started))
	case r.Current:
		return duration(now.Sub(r.Started)) + " by now"
	}
	return "-"
}

// duration is rounded to what a person would say.
func duration(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// shownUsers is how many users are named.
const shownUsers = 3

func usersText(uids []uint32) string {
	var names []string
	for _, uid := range uids[:min(len(uids), shownUsers)] {
		names = append(names, printable(userName(uid)))
	}
	if more := len(uids) - len(names); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}

// binariesText is what the servers ran, and what was installed.
func binariesText(r *api.RolloutRecord) string {
	installed := selector.Binary{Image: r.Install.Image, Build: r.Install.Build}
	switch len(r.From) {
	case 0:
		return installed.String()
	case 1:
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
func historyNotes(r *api.RolloutRecord) (notes []string) {
	for _, d := range r.Deaths {
		what := "server"
		if d.Canary {
			what = "canary"
		}
		note := fmt.Sprintf("%s  %s %d of %s died: %s", localTime(d.Time), what, d.PID, userName(d.UID), d.Detail)
		if d.ByOther {
			note += ", after a signal of another sender"
		}
		notes = append(notes, printable(note))
	}
	if more := r.Servers[rollout.Crashed] - len(r.Deaths); more > 0 && len(r.Deaths) > 0 {
		notes = append(notes, fmt.Sprintf("and %d more", more))
	}
	if len(notes) > 0 {
		return notes
	}
	for _, h := range r.Halts {
		notes = append(notes, printable(fmt.Sprintf("%s  halted for %s: %s", localTime(h.Since), userName(h.UID), h.Reason)))
	}
	return notes
}
