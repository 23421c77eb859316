// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// file is an installed file with all that name it: one row of the table.
type file struct {
	api.InstallStatus
	users      []uint32
	containers []string
	rollout    rollout.Report
}

// filesOf merges the installs of one file: each user and each mount view has its own. Those that need an operator come
// first, and then those with rollouts far from their end.
func filesOf(s api.Status) []file {
	type key struct {
		path, detail string
		image        selector.Image
		state        selector.State
		rollout      uint64
	}
	rollouts := make(map[uint64]rollout.Report, len(s.Rollouts))
	for _, r := range s.Rollouts {
		rollouts[r.Number] = r
	}
	at := make(map[key]int)
	var files []file
	for _, i := range s.Installs {
		k := key{i.Path, i.Detail, i.Image, i.State, i.Rollout}
		n, isKnown := at[k]
		if !isKnown {
			n = len(files)
			at[k] = n
			files = append(files, file{InstallStatus: i, rollout: rollouts[i.Rollout]})
			files[n].Servers = 0
		}
		f := &files[n]
		f.Servers += i.Servers
		f.users = append(f.users, i.UID)
		f.containers = append(f.containers, i.Container)
	}
	slices.SortStableFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(b.urgency(), a.urgency()), cmp.Compare(daemon.Remaining(a.rollout.Phase), daemon.Remaining(b.rollout.Phase)))
	})
	return files
}

// urgency is higher the more a file needs an operator.
func (f file) urgency() screen.Style {
	_, style := view{}.state(f)
	return style
}

// maxInstalls keeps the table of installs on the screen.
const maxInstalls = 24

// installs writes a row for each installed file.
func (v view) installs(w io.Writer, s api.Status) error {
	files := filesOf(s)
	t := screen.Table{Columns: []screen.Column{
		{Title: "INSTALL", Shrinks: screen.Middle, Enough: 28},
		{Title: "USERS", Drop: 2, Shrinks: screen.End, Enough: 12},
		{Title: "CONTAINERS", Drop: 3, Shrinks: screen.End, Enough: 12},
		{Title: "SERVERS", Drop: 1, IsNumber: true},
		{Title: "BINARY", Drop: 4, Shrinks: screen.End, Enough: 24},
		{Title: "IMAGE", Drop: 5},
		{Title: "STATE", Shrinks: screen.End, Enough: 34},
	}}
	shown := files
	if !v.isWide {
		shown = files[:min(len(files), maxInstalls)]
	}
	for _, f := range shown {
		state, style := v.state(f)
		users := "any"
		if s.Learned {
			users = v.names.list(f.users)
		}
		t.Add(cell(f.Path), cell(users), cell(v.containers(f.containers)), cell(strconv.Itoa(f.Servers)), cell(v.binary(f)),
			cell(f.Image.String()), styled(state, style))
	}
	if !v.isWide {
		t.Remove("IMAGE")
	}
	if !slices.ContainsFunc(files, func(f file) bool { return slices.ContainsFunc(f.containers, isContainer) }) {
		t.Remove("CONTAINERS")
	}
	if err := v.table(w, &t); err != nil {
		return err
	}
	if more := len(files) - len(shown); more > 0 {
		fmt.Fprintf(w, "and %d more: status -o wide\n", more)
	}
	return nil
}

// cell is a cell of a table. Text of others is escaped.
func cell(text string) screen.Cell { return styled(text, screen.Plain) }

func styled(text string, style screen.Style) screen.Cell {
	return screen.Cell{Text: printable(text), Style: style}
}

func isContainer(id string) bool { return id != "" }

// containers names the containers of the servers; "host" are those outside of any.
func (v view) containers(ids []string) string {
	var names []string
	for _, id := range ids {
		if id == "" {
			names = append(names, "host")
		} else {
			names = append(names, v.names.container(id))
		}
	}
	slices.Sort(names)
	return listed(slices.Compact(names))
}

// binary describes the installed file, and what its servers ran before.
func (v view) binary(f file) string {
	if !f.Image.Known() {
		return "-"
	}
	what := f.Build.String()
	if from := f.rollout.From.Build; what != "" && from.String() != "" && from != f.Build {
		if from.Version != "" && f.Version != "" && from.Version != f.Version && !v.isWide {
			from.BuildID, what = "", f.Version
		}
		what = from.String() + " → " + what
	}
	if !f.Changed.IsZero() {
		what = strings.TrimPrefix(what+", installed "+ago(f.Changed, v.now), ", ")
	}
	return printable(cmp.Or(what, "-"))
}

// state says in words how far an install is.
func (v view) state(f file) (string, screen.Style) {
	switch {
	case f.State == selector.StateMissing:
		return "nothing is installed (" + f.Detail + ")", screen.Warning
	case f.State != selector.StateReady:
		return "not ready: " + f.Detail, screen.Warning
	case f.rollout.Number == 0:
		return string(rollout.PhaseIdle), screen.Plain
	}
	return v.progress(f.rollout)
}

// unready says why servers wait for a file that cannot be exec'd, and what to do. The table has no room for all of it.
func (v view) unready(w io.Writer, s api.Status) {
	shown := 0
	for _, f := range filesOf(s) {
		if f.Servers == 0 || f.State == selector.StateReady || f.Detail == registry.ReasonUnreported {
			continue
		}
		if shown++; shown > maxHalts {
			continue
		}
		v.line(w, screen.Warning, "not ready", "%s of %s: %s", f.Path, v.names.list(f.users), f.Detail)
		v.line(w, screen.Plain, "", "%s %s the binary from before, and no signal is sent", counted(f.Servers, "server"), verb(f.Servers, "keep"))
	}
	if more := shown - maxHalts; more > 0 {
		v.line(w, screen.Warning, "not ready", "and %d more: status -o json", more)
	}
	if shown > 0 {
		v.line(w, screen.Plain, "to do", "install a complete binary that its users may execute: the rollout of that begins by itself")
		fmt.Fprintln(w)
	}
}

// progress says in words how far a rollout is.
func (v view) progress(r rollout.Report) (string, screen.Style) {
	rest := fmt.Sprintf("%s, begun %s", daemon.Outcomes(r), ago(r.Started, v.now))
	switch r.Phase {
	case rollout.PhaseHalted:
		return "HALTED: " + daemon.Outcomes(r), screen.Bad
	case rollout.PhaseAbandoned:
		return "abandoned: " + daemon.Outcomes(r), screen.Warning
	case rollout.PhaseFailed:
		return "FAILED: " + daemon.Outcomes(r), screen.Bad
	case rollout.PhaseComplete:
		return v.complete(r)
	case rollout.PhaseRolling:
		return "upgrading: " + rest, screen.Plain
	case rollout.PhasePaused:
		return "paused: " + daemon.Outcomes(r), screen.Warning
	}
	return string(r.Phase) + ": " + rest, screen.Plain
}

// complete says what a rollout that is over came to.
func (v view) complete(r rollout.Report) (string, screen.Style) {
	if r.Total() == 0 {
		return "up to date", screen.Plain
	}
	parts := []string{fmt.Sprintf("upgraded %d of %d", r.Servers[rollout.Upgraded], r.Total())}
	if !r.LastOutcome.IsZero() {
		parts[0] += " in " + took(r.LastOutcome.Sub(r.Started))
		parts = append(parts, ago(r.LastOutcome, v.now))
	}
	style := screen.Plain
	for _, s := range rollout.States() {
		if n := r.Servers[s]; n > 0 && s != rollout.Upgraded {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if r.Behind() > 0 {
		style = screen.Warning
	}
	return strings.Join(parts, ", "), style
}
