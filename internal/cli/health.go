// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"maps"
	"strings"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// condition is the state of a service in one word. The word is the same in JSON and tables.
type condition string

// The conditions, the worst first.
const (
	isHalted condition = "halted" // no server of a user is signalled until an operator acts or another file is installed
	isBehind condition = "behind" // servers run another file than the installed one
	isFine   condition = "fine"
)

// health is the condition of a service with a sentence about it.
type health struct {
	Condition condition `json:"condition"`
	Summary   string    `json:"summary"`
	// IsSettled says that nothing changes by itself: no rollout is under way.
	IsSettled bool `json:"settled"`
}

// code is the exit code of status --check.
func (h health) code() int {
	switch h.Condition {
	case isHalted:
		return exitFailure
	case isBehind:
		return exitBehind
	}
	return exitOK
}

func (h health) style() screen.Style {
	switch h.Condition {
	case isHalted:
		return screen.Bad
	case isBehind:
		return screen.Warning
	}
	return screen.Good
}

// tallied is what counts for the health.
type tallied struct {
	halted, failed, underWay []rollout.Report
	behind, onOld, crashed   int
	// isUnknown says that an install was not looked at yet.
	isUnknown bool
}

func tally(s control.Status) (t tallied) {
	for _, r := range s.Rollouts {
		if r.Phase != rollout.PhaseIdle { // its servers count below
			t.behind += r.Behind()
		}
		switch {
		case len(r.Halts) > 0 || r.Phase == rollout.PhaseHalted:
			t.halted = append(t.halted, r)
			t.onOld += r.Behind()
		case r.Phase == rollout.PhaseFailed:
			t.failed = append(t.failed, r)
			t.crashed += r.Servers[rollout.Crashed]
		case r.Phase == rollout.PhaseCanary || r.Phase == rollout.PhaseRolling:
			t.underWay = append(t.underWay, r)
		}
	}
	for _, i := range s.Installs {
		switch {
		case i.State == selector.StateReady:
		case i.Detail == registry.ReasonUnreported:
			t.isUnknown = true
		default:
			t.behind += i.Servers
		}
	}
	return t
}

// healthOf computes the health of a service.
func healthOf(s control.Status, names *userNames) health {
	t := tally(s)
	h := health{IsSettled: !t.isUnknown && (len(t.underWay) == 0 || s.Paused || s.JournalError != "")}
	running := underWay(t.underWay)
	switch {
	case s.JournalError != "":
		h.Condition, h.Summary = isHalted, "BLOCKED: "+s.JournalError+": no server is signalled until the journal can be written"
	case len(t.halted) > 0:
		h.Condition, h.Summary = isHalted, "HALTED: "+haltSummary(t, names)+running
	case len(t.failed) > 0:
		h.Condition, h.Summary = isHalted, fmt.Sprintf("FAILED: %s died of %s", counted(t.crashed, "server"), t.failed[0].Install.Path)+running
	case t.isUnknown:
		h.Condition, h.Summary = isBehind, "starting: the installs are looked at"
	case s.Paused && t.behind > 0:
		h.Condition, h.Summary = isBehind, fmt.Sprintf("PAUSED: %s behind", counted(t.behind, "server"))
	case t.behind > 0:
		h.Condition, h.Summary = isBehind, counted(t.behind, "server")+" behind"+running
	case len(t.underWay) > 0:
		h.Condition, h.Summary = isBehind, "upgraded servers must live for a moment"+running
	default:
		h.Condition, h.Summary = isFine, "fine: "+fineSummary(s)
	}
	return h
}

func underWay(rollouts []rollout.Report) string {
	switch len(rollouts) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(", rollout %d under way", rollouts[0].Number)
	}
	return fmt.Sprintf(", %d rollouts under way", len(rollouts))
}

// haltSummary says how many servers of which users a halt keeps on their file.
func haltSummary(t tallied, names *userNames) string {
	var users []uint32
	for _, r := range t.halted {
		for _, h := range r.Halts {
			users = append(users, h.UID)
		}
	}
	of, path := names.list(users), t.halted[0].Install.Path
	if len(t.halted) > 1 {
		path = fmt.Sprintf("%s and %d more", path, len(t.halted)-1)
	}
	if of != "" {
		of = " of " + of
	}
	return fmt.Sprintf("%s%s %s on the old binary of %s", counted(t.onOld, "server"), of, verb(t.onOld, "stay"), path)
}

// fineSummary counts the servers that are up to date, and the others by verdict.
func fineSummary(s control.Status) string {
	others := maps.Clone(s.Verdicts)
	maps.DeleteFunc(others, func(v selector.Verdict, n int) bool {
		return v == selector.UpToDate || v == selector.NotSelected || n == 0
	})
	var parts []string
	if n := s.Verdicts[selector.UpToDate]; n > 0 {
		parts = append(parts, counted(n, "server")+" up to date")
	}
	if len(others) > 0 || len(parts) == 0 {
		parts = append(parts, daemon.Counts(others))
	}
	if s.Paused {
		parts = append(parts, "paused")
	}
	return strings.Join(parts, ", ")
}
