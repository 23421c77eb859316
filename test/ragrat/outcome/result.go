// SPDX-License-Identifier: MIT

// Package outcome is what a scenario with real servers led to: the figures, the limits that they are held
// against, and the tables that show them.
package outcome

import (
	"fmt"
	"time"
)

// Mode is what stands beside the servers' own trigger.
type Mode string

// The modes, in the order of the tables.
const (
	// Alone is without a service.
	Alone Mode = "alone"
	// Hurry is the service without the gate, whose default times are shorter than those of the servers' own trigger.
	Hurry Mode = "hurry"
	// Gate is the service with its default values and the gate.
	Gate Mode = "gate"
)

// Modes are all of them.
func Modes() []Mode { return []Mode{Alone, Hurry, Gate} }

// Result is what one round of a scenario led to. Calls are those of clients between the install and the end.
type Result struct {
	Scenario string `json:"scenario"`
	Mode     Mode   `json:"mode"`
	// From is the version that the servers run first, To the one that is installed, or what else is.
	From string `json:"from"`
	To   string `json:"to"`
	// Sessions is how many servers there were.
	Sessions int `json:"sessions"`
	// Dead is how many of them ended, and Silent how many live and do not answer any more.
	Dead   int `json:"dead"`
	Silent int `json:"silent"`
	// Upgraded is how many run the installed file at the end, and Missed how many could and do not.
	Upgraded int `json:"upgraded"`
	Missed   int `json:"missed"`
	// Calls were sent; Lost were never answered by a server that lives, Refused were answered with an error
	// because a newer version has migrated the index.
	Calls   int `json:"calls"`
	Lost    int `json:"lost"`
	Refused int `json:"refused"`
	// LastExec is the time from the install to the last exec of a server, 0 if there was none.
	LastExec time.Duration `json:"last_exec"`
	// Phase is what the service says of the rollout at the end, empty without a service.
	Phase string `json:"phase"`
	// Ends says how servers ended: "exit status 1: 3, signal: user defined signal 1: 1".
	Ends string `json:"ends"`
}

// LostSessions is how many agents lost their server: it ended, or does not answer.
func (r Result) LostSessions() int { return r.Dead + r.Silent }

// String is for a person who waits.
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
