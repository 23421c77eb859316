// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// rhythm names a way in which clients call.
type rhythm string

const (
	// bursts: three calls without a pause, then a pause of 0.5 to 2 s, as an agent calls.
	bursts rhythm = "bursts"
	// every: a call 0.3 s after each answer.
	every   rhythm = "every-0.3s"
	noPause rhythm = "no-pause"
	// hardly: a call every 8 to 12 s.
	hardly rhythm = "hardly"
	// longCall: long calls, 0.5 to 2 s apart.
	longCall rhythm = "long-call"
)

func rhythms() []rhythm { return []rhythm{bursts, every, noPause, hardly, longCall} }

const (
	// longTakes is the duration of a long call.
	longTakes = 20 * time.Second
	// answerWithin is how long a client waits in addition.
	answerWithin = 5 * time.Second
)

// of returns the rhythm of the client of a session.
func (r rhythm) of(s *agents.Session) agents.Rhythm {
	calls := agents.Rhythm{Pause: r.pause, Timeout: answerWithin}
	if r == longCall {
		calls.Timeout = longTakes + answerWithin
		calls.Prepare = func(ctx context.Context) error {
			// Every call reads this document.
			return holdUp(ctx, filepath.Join(s.Dir, "docs", "2.md"), longTakes)
		}
	}
	return calls
}

// pause returns the time between call n and the next one.
func (r rhythm) pause(n int) time.Duration {
	switch r {
	case bursts:
		if n%3 != 0 {
			return 0
		}
		return between(500*time.Millisecond, 2*time.Second)
	case every:
		return 300 * time.Millisecond
	case hardly:
		return between(8*time.Second, 12*time.Second)
	case longCall:
		return between(500*time.Millisecond, 2*time.Second)
	}
	return 0
}

func between(least, most time.Duration) time.Duration { return least + rand.N(most-least) }
