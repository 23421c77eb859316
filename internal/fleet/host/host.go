// SPDX-License-Identifier: MIT

// Package host is one host of a fleet: it asks the record for seats and reports to it.
package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
)

// Config says which host this is.
type Config struct {
	// ID and Name are those of fleet.Host. Ring is empty for a host without one.
	ID, Name, Ring string
	// Dir is where the host keeps Counted, the result of [Counted]. Empty: it does not.
	Dir     string
	Counted []string
	// OpenAfter is how long the engine must be out of reach before the host goes without a seat; zero: never.
	OpenAfter time.Duration
}

// Answer is what a host is told.
type Answer struct {
	fleet.Answer
	// AskAt is when the host asks again: it keeps its seat by that, or may get one.
	AskAt time.Time
	// Bake is how long a host with a seat watches for late crashes.
	Bake time.Duration
}

// Host is one host. Its methods may be called concurrently.
type Host struct {
	config Config
	mu     sync.Mutex
	record record.Record
	seen   Seen
	now    func() time.Time
	random func() float64
}

// Seen is what the host knows of the fleet.
type Seen struct {
	// At is when the engine answered last, by the host's clock. Lost is since when it has not; zero: it does.
	At, Lost time.Time
	// Problem is why not.
	Problem string
	View    record.View
	// Requests counts the calls of the engine by operation and result.
	Requests map[Request]int
	// Took is the time of all requests, by operation.
	Took map[string]time.Duration
}

// Request is a kind of call of an engine: "load" or "swap", "ok", "conflict" or "error".
type Request struct{ Op, Result string }

// New returns a host. It opens no connection and starts no timer.
func New(c Config, store record.Store) *Host {
	h := &Host{config: c, now: time.Now, random: rand.Float64}
	h.seen = Seen{Requests: make(map[Request]int), Took: make(map[string]time.Duration)}
	h.record = record.Record{Store: store, Seen: h.count}
	return h
}

// ID returns the id of the host.
func (h *Host) ID() string { return h.config.ID }

// Seen returns what the host knows of the fleet, without asking.
func (h *Host) Seen() Seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	seen.Requests, seen.Took = maps.Clone(seen.Requests), maps.Clone(seen.Took)
	return seen
}

// Enter asks for a seat, or keeps the one that there is.
func (h *Host) Enter(ctx context.Context, release string, isIdle bool) (Answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a Answer
	err := h.change(ctx, func(v *record.View) (changed bool) {
		a = Answer{}
		a.Answer, changed = v.Policy.Enter(&v.State, h.host(release, isIdle), release, v.Now)
		wait := fleet.Wait(a.Answer, v.Now, h.random())
		if a.Granted() {
			wait, a.Bake = v.Policy.Renew(), v.Policy.Bake(a.Wave)
			a.Text = "entered wave " + v.Policy.Waves[a.Wave].Name
		}
		a.AskAt = h.now().Add(wait)
		return changed
	})
	// An engine that answers is reached, whatever it says.
	isLost := err != nil && !errors.Is(err, record.ErrDocument) && !errors.Is(err, record.ErrConflict)
	if isLost && h.config.OpenAfter > 0 && h.now().Sub(h.seen.Lost) >= h.config.OpenAfter {
		why := fmt.Sprintf("without a seat: the engine was out of reach for %s", h.config.OpenAfter)
		return Answer{Answer: fleet.Answer{Reason: fleet.Granted, Text: why}}, nil
	}
	return a, err
}

// Done reports that at least one server has lived on the release for the hold time.
func (h *Host) Done(ctx context.Context, release string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	isCounted := false
	err := h.change(ctx, func(v *record.View) bool {
		isCounted = v.Policy.Done(&v.State, h.host(release, false), release, v.Now)
		return isCounted
	})
	if err != nil || !isCounted {
		return err
	}
	return h.remember(release)
}

// Nothing reports that no server has proven the release. isInPlace says whether its file is in place.
func (h *Host) Nothing(ctx context.Context, release string, isInPlace bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.change(ctx, func(v *record.View) bool {
		return v.Policy.Nothing(&v.State, h.config.ID, release, isInPlace, v.Now)
	})
}

// Fail reports that the release failed on this host.
func (h *Host) Fail(ctx context.Context, release, why string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.change(ctx, func(v *record.View) bool {
		return v.Policy.Fail(&v.State, h.host(release, false), release, why, v.Now)
	})
	if err != nil {
		return err
	}
	return h.forget(release)
}

func (h *Host) host(release string, isIdle bool) fleet.Host {
	isCounted := slices.Contains(h.config.Counted, release)
	return fleet.Host{ID: h.config.ID, Name: h.config.Name, Ring: h.config.Ring, Idle: isIdle, Counted: isCounted}
}

// change notes what the record said, or since when it says nothing.
func (h *Host) change(ctx context.Context, change func(*record.View) bool) error {
	var view record.View
	err := h.record.Change(ctx, func(v *record.View) bool {
		changed := change(v)
		view = *v
		return changed
	})
	if err == nil {
		h.seen.At, h.seen.View, h.seen.Lost, h.seen.Problem = h.now(), view, time.Time{}, ""
		return nil
	}
	if h.seen.Lost.IsZero() {
		h.seen.Lost = h.now()
	}
	h.seen.Problem = err.Error()
	return err
}
