// SPDX-License-Identifier: MIT

package api

import (
	"errors"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// Staged is one path that is served by a staged file.
type Staged struct {
	Path string `json:"path"`
	// Gate decides when the file is put in place: "manual", or an engine.
	Gate string `json:"gate"`
	// Release is what is staged, or was put in place: "sha256:" and the hash of its content. Empty: nothing new is staged.
	Release string `json:"release,omitzero"`
	// State is its state, and Since the time from which it is.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Why says what it waits for, or how it failed. It holds no text of a program.
	Why string `json:"why,omitzero"`
	// Until is when it has baked, or when the gate is asked again; zero: not known.
	Until time.Time `json:"until,omitzero"`
	// Preflight says how the check of the staged file went; nil: it has not ended.
	Preflight *Preflight `json:"preflight,omitempty"`
	// RolledBack says that the file before is in place again.
	RolledBack bool `json:"rolled_back,omitzero"`
	// Deaths and Behind are those of the rollout of the file that is in place.
	Deaths int `json:"deaths"`
	Behind int `json:"behind"`
}

// Fleet is what a host knows of its fleet. Only operators read it.
type Fleet struct {
	// Engine is the value of --fleet. ID, Name and Ring are those of this host in the record.
	Engine string `json:"engine"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Ring   string `json:"ring,omitzero"`
	// Reached is when the engine answered last. LostSince is since when it has not, and Problem why; zero: it answers.
	Reached   time.Time `json:"reached,omitzero"`
	LostSince time.Time `json:"lost_since,omitzero"`
	Problem   string    `json:"problem,omitzero"`
	// OpenAfter is how long the engine must be out of reach before the host goes without a seat; zero: never.
	OpenAfter rollout.Seconds `json:"open_after_seconds,omitzero"`
}

// Preflight is the result of running a staged file in a cage.
type Preflight struct {
	// Release is the content that was checked.
	Release string `json:"release"`
	// Problem says what went wrong; empty: nothing did.
	Problem string `json:"problem,omitzero"`
	// Output is what the program printed, at most 2 KiB: text of a program. Only operators read it.
	Output string `json:"output,omitzero"`
}

// StageRequest is what an operator wants of a staged path.
type StageRequest struct {
	Path string
	// Bake is how long the release bakes.
	Bake time.Duration
	By   rollout.Act
}

// ErrNotStaged means that a path is not one that the service stages files for.
var ErrNotStaged = errors.New("this service stages no files for the install: start it with --stage")

// ErrNoFleet means that no fleet decides about the staged files of a service.
var ErrNoFleet = errors.New("this service belongs to no fleet: start it with --fleet")

// ErrReleaseFailed means that a release failed on this host, and is not activated again.
var ErrReleaseFailed = errors.New("not activated again")

// ErrNotRolledBack means that an install is not put back.
var ErrNotRolledBack = errors.New("not rolled back")
