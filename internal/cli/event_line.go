// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"strings"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

// eventLine is one event for a person to read.
func (n *userNames) eventLine(e control.Event) string {
	line := fmt.Sprintf("%6d  %s  %s", e.Seq, e.Time.Local().Format(time.DateTime+".000"), n.eventText(e))
	if e.Detail != "" {
		line += " (" + e.Detail + ")"
	}
	return line
}

func (n *userNames) eventText(e control.Event) string {
	switch e.Kind {
	case control.EventServer:
		return fmt.Sprintf("server %d%s: %s", e.PID, n.owner(e.UID), moveText(e))
	case control.EventRollout:
		text := fmt.Sprintf("rollout %d of %s: %s", e.Rollout, e.Path, e.Phase)
		if len(e.Counts) > 0 {
			text += ", " + daemon.Outcomes(rollout.Report{Servers: e.Counts})
		}
		return text
	case control.EventRound:
		return fmt.Sprintf("round (%s): %d inspected, %d planned", e.Reason, e.Servers, e.Planned)
	case control.EventRefused:
		return fmt.Sprintf("server %d%s: not signalled", e.PID, n.owner(e.UID))
	case control.EventGate:
		return fmt.Sprintf("gate: %d signals of %d to %d refused", e.Count, e.Sender, e.PID)
	case control.EventAct:
		return n.actText(e)
	case control.EventStage:
		return fmt.Sprintf("staged file %s for %s: %s", stage.Release(e.Release).Short(), e.Path, e.StageState)
	case control.EventLost:
		if e.Lost == 0 {
			return "numbers start at 1 again"
		}
		return fmt.Sprintf("%d events are not kept any more", e.Lost)
	}
	return string(e.Kind)
}

// moveText says from which state to which a server went.
func moveText(e control.Event) string {
	if e.From == nil || e.State == nil {
		return "unknown state"
	}
	text := e.State.String()
	if *e.From != *e.State {
		text = e.From.String() + " -> " + text
	}
	if e.ByOther && *e.State == rollout.Signalled {
		text += ", by another sender"
	}
	return text
}

// actText names an act, the user and the process, and what it is limited to: "pause by root, process 12, servers of alice".
func (n *userNames) actText(e control.Event) string {
	parts := []string{e.Act}
	if e.By != nil {
		parts[0] += " by " + n.inText(*e.By)
	}
	if e.PID != 0 {
		parts[0] += fmt.Sprintf(", process %d", e.PID)
	}
	if e.Path != "" {
		parts = append(parts, "install "+e.Path)
	}
	if e.UID != nil {
		parts = append(parts, "servers"+n.owner(e.UID))
	}
	if e.Rollout != 0 {
		parts = append(parts, fmt.Sprintf("rollout %d", e.Rollout))
	}
	return strings.Join(parts, ", ")
}

// owner names a user after what is theirs.
func (n *userNames) owner(uid *uint32) string {
	if uid == nil {
		return ""
	}
	return " of " + n.inText(*uid)
}
