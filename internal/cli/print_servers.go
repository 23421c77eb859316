// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

// printInstall writes one install with its servers by group.
func printInstall(w io.Writer, a statusJSON, v view) error {
	v.head(w, a)
	if err := v.installs(w, a.Status.Status); err != nil {
		return err
	}
	byGroup := make(map[rollout.Group][]api.ServerStatus)
	for _, s := range a.Servers {
		byGroup[groupOf(s)] = append(byGroup[groupOf(s)], s)
	}
	groups := slices.SortedFunc(maps.Keys(byGroup), func(a, b rollout.Group) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.DataDir, b.DataDir), cmp.Compare(byGroup[a][0].PID, byGroup[b][0].PID))
	})
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s\n", v.Wrap(printable(v.group(g, byGroup[g])), 2))
		if err := v.servers(w, byGroup[g], "USER", "CONTAINER", "INSTALL", "ARGUMENTS"); err != nil {
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

// servers writes a row for each server, without some columns, and without those that are empty in each row.
func (v view) servers(w io.Writer, all []api.ServerStatus, without ...string) error {
	t := screen.Table{Columns: []screen.Column{
		{Title: "PID"},
		{Title: "USER"},
		{Title: "CONTAINER", Drop: 3},
		{Title: "STATE"},
		{Title: "DELIVERY"},
		{Title: "SINCE", Drop: 4},
		{Title: "ATTEMPTS", Drop: 6},
		{Title: "INSTALL", Drop: 1, Shrinks: screen.Middle, Enough: 16},
		{Title: "BINARY", Drop: 5, Shrinks: screen.End, Enough: 14},
		{Title: "DIRECTORY", Drop: 2, Shrinks: screen.Middle, Enough: 16},
		{Title: "ARGUMENTS", Drop: 7, Shrinks: screen.End, Enough: 12},
		{Title: "DETAIL", Shrinks: screen.End, Enough: 30},
	}}
	shorten := cut
	if v.isWide {
		shorten = func(text string, _ int) string { return text }
	}
	isContained, isMember := false, false
	for i := range all {
		s := &all[i]
		since, attempts, detail := "-", "-", s.Detail
		if m := s.Rollout; m != nil {
			since, attempts, detail = clock(m.Since, v.now), strconv.Itoa(m.Attempts), cmp.Or(m.Detail, detail)
		}
		isContained, isMember = isContained || s.Container != "", isMember || s.Rollout != nil
		t.Add(cell(s.PID.String()), cell(v.names.of(s.UID)), cell(v.names.container(s.Container)), styled(stateWords(s), styleOf(s)),
			cell(v.deliveries[s.PID]), cell(since), cell(attempts), cell(cmp.Or(shorten(printable(s.UpgradeBin), widestPath), "-")),
			cell(binaryWord(s)), cell(cmp.Or(s.WorkDir, "-")), cell(shorten(printable(strings.Join(s.Args, " ")), widestArguments)),
			cell(cmp.Or(waitText(s.Wait, v.names, v.now), detail)))
	}
	if !isContained {
		without = append(without, "CONTAINER")
	}
	if !isMember {
		without = append(without, "SINCE", "ATTEMPTS")
	}
	if len(v.deliveries) == 0 {
		without = append(without, "DELIVERY")
	}
	t.Remove(without...)
	return v.table(w, &t)
}

// styleOf marks a server that needs an operator.
func styleOf(s *api.ServerStatus) screen.Style {
	switch {
	case s.Wait.For == rollout.WaitResume:
		return screen.Bad
	case s.Rollout == nil:
		return screen.Plain
	}
	switch s.Rollout.State {
	case rollout.Crashed, rollout.GaveUp:
		return screen.Bad
	case rollout.Skipped, rollout.TimedOut:
		return screen.Warning
	}
	return screen.Plain
}
