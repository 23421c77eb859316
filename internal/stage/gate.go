// SPDX-License-Identifier: MIT

package stage

import (
	"context"
	"time"
)

// Release names the content of a staged file: "sha256:" and 64 hexadecimal digits. Two hosts with the same content have the
// same release, wherever the file is installed.
type Release string

// Short returns the first eight digits of the hash, for tables and messages.
func (r Release) Short() string {
	const prefix = len("sha256:")
	if len(r) < prefix+8 {
		return string(r)
	}
	return string(r[prefix : prefix+8])
}

// Request says what this host wants to put in place.
type Request struct {
	// Path is the installed path. A file is staged at Path + ".next".
	Path    string
	Release Release
	// Servers is how many servers of this host name Path: without any, the host proves nothing.
	Servers int
}

// Answer is what a gate says to a request.
type Answer struct {
	// IsGranted says that this host holds a seat, and may put the file in place.
	IsGranted bool
	// Why says what the host waits for or, in a granted answer, on what grounds: for the operator.
	Why string
	// Reason is Why as a word of the gate; empty: the gate has none.
	Reason string
	// AskAt is when the host asks again. In a granted answer it keeps the seat: the host asks then as long as it has not
	// left. Zero: the host does not ask again by itself.
	AskAt time.Time
	// Bake is how long the release bakes on this host after Leave, in a granted answer.
	Bake time.Duration
}

// Outcome says how a host leaves its seat.
type Outcome string

const (
	// Upgraded says that at least one server lived on the new file for the hold time, and the rollout is settled.
	Upgraded Outcome = "upgraded"
	// Nothing says that the file was not put in place, or no server has run it.
	Nothing Outcome = "nothing"
)

// Gate decides when this host may put a staged file in place. One goroutine calls its methods, one at a time. Each may
// wait for the network, within the context's deadline.
//
// An error says that the gate could not be reached, or did not take the call. The caller asks again later, with a growing
// wait, and meanwhile shows the error: a gate that is not reached lets no host in. All methods are repeatable: after a lost
// answer or a restart of the service the caller makes the same call again.
type Gate interface {
	// Name names the gate in answers and in the state file, such as "manual".
	Name() string
	// Enter asks for a seat. A host that has one gets it again, and keeps it for longer.
	Enter(ctx context.Context, r Request) (Answer, error)
	// Leave gives the seat back. The host may have none: an operator can activate a file without asking the gate.
	// Nothing before the file was put in place takes the host out of the count of the release.
	Leave(ctx context.Context, r Request, o Outcome) error
	// Fail reports that the release failed on this host, and gives the seat back if it holds one. It may follow a Leave:
	// late crashes fail a release that bakes. why is for the operator; it holds no text of a server.
	Fail(ctx context.Context, r Request, why string) error
}

// Manual is the gate without an engine: an operator, or a tool that runs over the hosts, activates each file.
type Manual struct{}

// Name implements [Gate].
func (Manual) Name() string { return "manual" }

// Enter implements [Gate]: it never grants.
func (Manual) Enter(context.Context, Request) (Answer, error) {
	return Answer{Why: "waits for activate"}, nil
}

// Leave implements [Gate].
func (Manual) Leave(context.Context, Request, Outcome) error { return nil }

// Fail implements [Gate].
func (Manual) Fail(context.Context, Request, string) error { return nil }
