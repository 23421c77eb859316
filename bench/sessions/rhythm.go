// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"math/rand/v2"
	"time"
)

// rhythm is when a client calls.
type rhythm string

const (
	// bursts are three calls back to back, and a pause of half a second to two: an agent's.
	bursts rhythm = "bursts"
	// every is a call 0.3 s after each answer.
	every   rhythm = "every-0.3s"
	noPause rhythm = "no-pause"
	// hardly is a call every ten seconds or so.
	hardly rhythm = "hardly"
	// longCall is one call after the other of which each takes long.
	longCall rhythm = "long-call"
)

func rhythms() []rhythm { return []rhythm{bursts, every, noPause, hardly, longCall} }

const (
	// longTakes is how long a long call does.
	longTakes = 20 * time.Second
	// answerWithin is how long a client waits beyond that.
	answerWithin = 5 * time.Second
)

// pause is what a client makes after its nth call.
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

// timeout is how long a client waits for an answer.
func (r rhythm) timeout() time.Duration {
	if r == longCall {
		return longTakes + answerWithin
	}
	return answerWithin
}

func between(least, most time.Duration) time.Duration { return least + rand.N(most-least) }
