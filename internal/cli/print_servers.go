// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// printInstall writes one install with its servers by group.
func printInstall(w io.Writer, a answers, v view) error {
	v.head(w, a.Status)
	if err := v.installs(w, a.Status.Status); err != nil {
		return err
	}
	byGroup := make(map[rollout.Group][]api.ServerStatus)
	for _, s := range a.servers {
		byGroup[groupOf(s)] = append(byGroup[groupOf(s)], s)
	}
	groups := make([]rollout.Group, 0, len(byGroup))
	for g := range byGroup {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b rollout.Group) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.DataDir, b.DataDir), cmp.Compare(byGroup[a][0].PID, byGroup[b][0].PID))
	})
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s\n", v.Wrap(printable(v.group(g, byGroup[g])), 2))
		if err := v.servers(w, byGroup[g]); err != nil {
			return err
		}
	}
	return nil
}

// groupOf is the group of a server, or only its user where it is in no rollout.
func groupOf(s api.ServerStatus) rollout.Group {
	if s.Rollout != nil {
		return s.Rollout.Group
	}
	return rollout.Group{User: s.UID}
}

// group describes a group in a line.
func (v view) group(g rollout.Group, members []api.ServerStatus) string {
	line := "group of " + v.names.inText(g.User)
	if members[0].Rollout == nil {
		line = "in no rollout, of " + v.names.inText(g.User)
	}
	if c := members[0].Container; c != "" {
		line += " in container " + v.names.container(c)
	}
	if g.DataDir != "" {
		line += ", index in " + g.DataDir
	}
	return line + ", " + counted(len(members), "server") + ":"
}

// servers writes a row for each server.
func (v view) servers(w io.Writer, all []api.ServerStatus) error {
	t := screen.Table{Columns: []screen.Column{
		{Title: "PID", IsNumber: true},
		{Title: "STATE"},
		{Title: "SINCE", Drop: 3},
		{Title: "SIGNALS", Drop: 4, IsNumber: true},
		{Title: "RUNS", Drop: 2, Shrinks: screen.End, Enough: 16},
		{Title: "DIRECTORY", Drop: 1, Shrinks: screen.Middle, Enough: 16},
		{Title: "WAITS FOR", Shrinks: screen.End, Enough: 30},
	}}
	for _, s := range all {
		state, style := stateOf(s)
		t.Add(cell(s.PID.String()), styled(state, style), cell(v.since(s)), cell(attempts(s)),
			cell(selector.Binary{Image: s.Image, Build: s.Runs}.String()), cell(cmp.Or(s.WorkDir, "-")),
			cell(v.waits(s)))
	}
	return v.table(w, &t)
}

// stateOf is the state in the rollout, or the verdict of a server that is in none.
func stateOf(s api.ServerStatus) (string, screen.Style) {
	if s.Rollout == nil || s.Rollout.State == rollout.None {
		return s.Verdict.String(), screen.Plain
	}
	switch s.Rollout.State {
	case rollout.Crashed, rollout.GaveUp:
		return s.Rollout.State.String(), screen.Bad
	case rollout.Skipped, rollout.TimedOut:
		return s.Rollout.State.String(), screen.Warning
	}
	return s.Rollout.State.String(), screen.Plain
}

func (v view) since(s api.ServerStatus) string {
	if s.Rollout == nil || s.Rollout.Since.IsZero() {
		return "-"
	}
	return ago(s.Rollout.Since, v.now)
}

func attempts(s api.ServerStatus) string {
	if s.Rollout == nil {
		return "0"
	}
	return strconv.Itoa(s.Rollout.Attempts)
}

// waits says what a server waits for and until when, or else why it is as it is.
func (v view) waits(s api.ServerStatus) string {
	wait := s.Wait
	if wait.For == "" {
		detail := s.Detail
		if s.Rollout != nil {
			detail = cmp.Or(s.Rollout.Detail, detail)
		}
		return cmp.Or(detail, "-")
	}
	if until := wait.Until.Sub(v.now); !wait.Until.IsZero() && until > 0 {
		return fmt.Sprintf("%s (%s at most)", wait.Why, took(until.Round(time.Second)))
	}
	if wait.By != nil {
		return waitText(wait, v.names, v.now)
	}
	return wait.Why
}
