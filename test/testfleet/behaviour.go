// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"encoding/json"
	"fmt"
	"syscall"
	"time"
)

// Behaviour is how a server differs from a good one. A good server arms at once, execs at the first signal from a
// thread other than its main one, and ends when its stdin is closed. The Behaviour survives the exec.
type Behaviour struct {
	// ArmDelay is how long the default action stays in force after the start.
	ArmDelay Duration `json:"arm_delay,omitzero"`
	// NeverArm keeps it in force for ever. So does an empty upgrade variable.
	NeverArm bool `json:"never_arm,omitzero"`
	// Ignore makes it absorb every signal and never upgrade.
	Ignore bool `json:"ignore,omitzero"`
	// Execs is the path that it execs instead of that in its variable.
	Execs string `json:"execs,omitempty"`
	// Drain is the time between the signal and the exec.
	Drain Duration `json:"drain,omitzero"`
	// DrainLimit is how long it waits for running calls of the session, 30 s by default.
	DrainLimit Duration `json:"drain_limit,omitzero"`
	// NeedsTwoSignals makes it upgrade only at the second signal.
	NeedsTwoSignals bool `json:"ask_twice,omitzero"`
	// End makes it end by itself.
	End *End `json:"end,omitzero"`
	// ExecFromMain execs from the main thread.
	ExecFromMain bool `json:"exec_from_main,omitzero"`
	// LeaderExits ends the main thread at once; the other threads live on. It overrides ExecFromMain.
	LeaderExits bool `json:"leader_exits,omitzero"`
	// Daemonise makes a server of generation 0 fork a child that does not exec, and end itself. The child is the server
	// from then on. It outlives its parent and its stdin, and supports Ignore, NeedsTwoSignals and Drain.
	Daemonise bool `json:"daemonise,omitzero"`
	// Stuck is a file of which a thread of a server of generation 0 reads a byte before the server arms itself. If that
	// is [Mute], neither a signal nor an exec ends the thread before the file system is released.
	Stuck string `json:"stuck,omitempty"`
	// ForkChild makes the server fork a child that does not exec, has the same handlers, and dies of SIGUSR1. The child
	// outlives the server's exec, but not the server.
	ForkChild bool `json:"fork_child,omitzero"`
	// ChildExecs is after which time that child execs sleep(1); zero: never.
	ChildExecs Duration `json:"child_execs,omitzero"`
	// OutliveStdin makes it serve on when its stdin is closed.
	OutliveStdin bool `json:"outlive_stdin,omitzero"`
	// Busy is a file that a server of generation 0 reads every 20 ms, until the file is removed.
	Busy string `json:"busy,omitempty"`
	// WatchDir is a directory that the server holds an inotify watch on, as a server does that fires the servers' own
	// trigger.
	WatchDir string `json:"watch_dir,omitzero"`
	// Later replaces this Behaviour as a whole from generation Later.From on.
	Later *Behaviour `json:"later,omitzero"`
	// From is the first generation of a Later Behaviour, at least 1. It is ignored elsewhere.
	From int `json:"from,omitzero"`
}

// End is how a server ends by itself.
type End struct {
	// After is the time since the start of this generation; zero: before it would arm itself.
	After Duration `json:"after,omitzero"`
	// Code is its exit code.
	Code int `json:"code,omitzero"`
	// Signal makes it die of a signal instead.
	Signal syscall.Signal `json:"signal,omitzero"`
	// When is a file: the server ends once that is gone, instead of After.
	When string `json:"when,omitzero"`
}

// at returns the Behaviour in one generation.
func (b Behaviour) at(generation int) Behaviour {
	for b.Later != nil && generation >= max(1, b.Later.From) {
		b = *b.Later
	}
	return b
}

// signalsNeeded returns how many signals make the server upgrade; zero: it never does.
func (b Behaviour) signalsNeeded() int {
	switch {
	case b.Ignore:
		return 0
	case b.NeedsTwoSignals:
		return 2
	}
	return 1
}

func parseBehaviour(text string) (Behaviour, error) {
	var b Behaviour
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return Behaviour{}, fmt.Errorf("parse behaviour %q: %w", text, err)
	}
	return b, nil
}

// Duration is a [time.Duration] with a text form in JSON, such as "300ms".
type Duration time.Duration

// MarshalText returns the text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText parses text as [time.ParseDuration] does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
