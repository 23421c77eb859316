// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"encoding/json"
	"fmt"
	"time"
)

// Behaviour says how a server differs from a good one, which arms at once, execs at the first
// signal from a thread other than its main one, and ends when its stdin does. It survives the exec.
type Behaviour struct {
	// ArmDelay is how long the default action stays in force after the start.
	ArmDelay Duration `json:"arm_delay,omitzero"`
	// NeverArm keeps it in force for ever. A server without a value in its upgrade variable does so
	// by itself.
	NeverArm bool `json:"never_arm,omitzero"`
	// Ignore absorbs every signal and upgrades never.
	Ignore bool `json:"ignore,omitzero"`
	// Execs names the file that it execs instead of the one that its variable names.
	Execs string `json:"execs,omitempty"`
	// Drain is the time between the signal and the exec.
	Drain Duration `json:"drain,omitzero"`
	// DrainLimit is how long running calls of the session are waited for, 30 s by default.
	DrainLimit Duration `json:"drain_limit,omitzero"`
	// AskTwice upgrades only at the second signal.
	AskTwice bool `json:"ask_twice,omitzero"`
	// End makes it end by itself.
	End *End `json:"end,omitzero"`
	// ExecFromMain execs from the main thread.
	ExecFromMain bool `json:"exec_from_main,omitzero"`
	// LeaderExits ends the main thread at once; the process lives on in its other threads. It
	// prevails over ExecFromMain.
	LeaderExits bool `json:"leader_exits,omitzero"`
	// Daemonise makes a server of generation 0 fork a child that does not exec, and end itself. The
	// child is the server from then on, and ends with neither its parent nor its stdin. It knows
	// Ignore, AskTwice and Drain.
	Daemonise bool `json:"daemonise,omitzero"`
	// Stuck names a file that a thread of a server of generation 0 reads a byte of before it arms itself. Where that
	// is [Mute], neither a signal nor an exec of the server ends the thread before the file system is released.
	Stuck string `json:"stuck,omitempty"`
	// ForkChild gives the server a forked child that has not exec'd, with the same handlers, which
	// dies of SIGUSR1. It outlives the server's exec, but not the server.
	ForkChild bool `json:"fork_child,omitzero"`
	// ChildExecs makes that child exec sleep after this time; zero is never.
	ChildExecs Duration `json:"child_execs,omitzero"`
	// OutliveStdin goes on serving when stdin ends.
	OutliveStdin bool `json:"outlive_stdin,omitzero"`
	// Busy names a file that a server of generation 0 reads every 20 ms, until the file is gone.
	Busy string `json:"busy,omitempty"`
	// WatchDir has the server hold an inotify watch on that directory, as one does that fires the servers' own trigger.
	WatchDir string `json:"watch_dir,omitzero"`
	// Later replaces this Behaviour as a whole from generation Later.From on.
	Later *Behaviour `json:"later,omitzero"`
	// From is the first generation of a Later Behaviour, at least 1; it means nothing elsewhere.
	From int `json:"from,omitzero"`
}

// End is how a server ends by itself.
type End struct {
	// After is the time since the start of this generation; zero is before it would be armed.
	After Duration `json:"after,omitzero"`
	// Code is its exit code.
	Code int `json:"code,omitzero"`
	// Crash makes it die of SIGSEGV instead.
	Crash bool `json:"crash,omitzero"`
}

// at is what holds in one generation.
func (b Behaviour) at(generation int) Behaviour {
	for b.Later != nil && generation >= max(1, b.Later.From) {
		b = *b.Later
	}
	return b
}

// signalsNeeded is how often the server must be asked; zero is that asking is in vain.
func (b Behaviour) signalsNeeded() int {
	switch {
	case b.Ignore:
		return 0
	case b.AskTwice:
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

// Duration is a [time.Duration] that is text in JSON, as in "300ms".
type Duration time.Duration

// MarshalText gives the text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText takes what [time.ParseDuration] does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
