// SPDX-License-Identifier: MIT

// Package outcome has the results of scenarios with real servers, their limits and their tables.
package outcome

import (
	"fmt"
	"time"
)

// Mode says what runs beside the servers' own trigger.
type Mode string

// The modes, in the order of the tables.
const (
	// Alone: no service runs.
	Alone Mode = "alone"
	// Hurry: the service runs without the gate. Its default times are then shorter than those of the servers' own trigger.
	Hurry Mode = "hurry"
	// Gate: the service runs with its default values and the gate.
	Gate Mode = "gate"
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Alone, Hurry, Gate} }

// Result has the figures of one round of a scenario. Calls are counted from just before the install to the end.
type Result struct {
	Scenario string `json:"scenario"`
	Mode     Mode   `json:"mode"`
	// From is the version that the servers run first. To is the version that is installed, or what the binary does instead.
	From string `json:"from"`
	To   string `json:"to"`
	// Sessions is the number of servers at the start.
	Sessions int `json:"sessions"`
	// Dead counts servers that ended. Silent counts servers that live and no longer answer.
	Dead   int `json:"dead"`
	Silent int `json:"silent"`
	// Upgraded counts servers that run the installed file at the end. Missed counts those that could and do not.
	Upgraded int `json:"upgraded"`
	Missed   int `json:"missed"`
	// Calls counts sent calls. Lost counts those without an answer from a server that lives. Refused counts those that were
	// answered with an error because a newer version had migrated the index.
	Calls   int `json:"calls"`
	Lost    int `json:"lost"`
	Refused int `json:"refused"`
	// LastExec is the time from the install to the last exec of a server; 0 without an exec.
	LastExec time.Duration `json:"last_exec"`
	// Phase is the phase of the rollout at the end, in the service's word; empty without a service.
	Phase string `json:"phase"`
	// Ends counts the ways in which servers ended: "1: signal: user defined signal 1, 3: exit status 1".
	Ends string `json:"ends"`
}

// LostSessions counts the sessions without a server that answers.
func (r Result) LostSessions() int { return r.Dead + r.Silent }

// String formats the figures in one line for a terminal.
func (r Result) String() string {
	text := fmt.Sprintf("%-22s %-8s %s to %s: %d sessions, %d dead, %d silent, %d upgraded, %d missed; %d calls, %d lost, %d refused",
		r.Scenario, r.Mode, r.From, r.To, r.Sessions, r.Dead, r.Silent, r.Upgraded, r.Missed, r.Calls, r.Lost, r.Refused)
	if r.LastExec > 0 {
		text += fmt.Sprintf("; last exec after %.2f s", r.LastExec.Seconds())
	}
	if r.Phase != "" {
		text += "; " + r.Phase
	}
	if r.Ends != "" {
		text += " (" + r.Ends + ")"
	}
	return text
}
