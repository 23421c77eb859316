// SPDX-License-Identifier: MIT

// Package record changes the record of a fleet by compare-and-swap.
package record

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// ErrConflict is the error of a Swap when another host was quicker. Nothing was written.
var ErrConflict = errors.New("the record has changed meanwhile")

// ErrDocument is part of the error of an engine that answers with a policy or a record that cannot be used.
var ErrDocument = errors.New("the fleet's documents cannot be used")

// Document is what an engine keeps of a fleet.
type Document struct {
	// Policy is empty where there is none.
	Policy, State []byte
	// Version is that of State, in the engine's own form.
	Version string
	// Now is the engine's clock. Times of hosts are never compared.
	Now time.Time
}

// Store keeps the two documents of a fleet. Its methods are used by one goroutine at a time.
type Store interface {
	Load(ctx context.Context) (Document, error)
	// Swap replaces the state that has this version. Any error but ErrConflict leaves open whether it was written.
	Swap(ctx context.Context, state []byte, version string) error
}

// Record applies changes to what a store keeps.
type Record struct {
	Store Store
	// Seen is told of each answer of the store: the operation, how long it took, the error. It may be nil.
	Seen func(op string, took time.Duration, err error)
}

// View is a record as it was read.
type View struct {
	Policy fleet.Policy
	State  fleet.State
	Now    time.Time
}

// Read returns both documents. One that is missing or does not parse is an error: no host enters by guessing.
func (r *Record) Read(ctx context.Context) (View, error) {
	v, _, err := r.read(ctx)
	return v, err
}

func (r *Record) read(ctx context.Context) (v View, version string, err error) {
	begin := time.Now()
	d, err := r.Store.Load(ctx)
	r.seen("load", begin, err)
	if err != nil {
		return v, "", err
	}
	if v.Policy, err = fleet.ParsePolicy(d.Policy); err != nil {
		return v, "", fmt.Errorf("%w: policy: %w", ErrDocument, err)
	}
	if v.State, err = fleet.ParseState(d.State); err != nil {
		return v, "", fmt.Errorf("%w: record: %w", ErrDocument, err)
	}
	v.Now = d.Now
	return v, d.Version, nil
}

// Change reads the record, lets change work on it, and writes it back if change says that it did. After a conflict it does
// so again, with a wait that doubles, until ctx ends. change must set all that it returns anew each time.
func (r *Record) Change(ctx context.Context, change func(v *View) bool) error {
	for tries := 1; ; tries++ {
		err := r.try(ctx, change)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, %d times", ErrConflict, tries)
		case <-time.After(fleet.Conflict(tries, rand.Float64())):
		}
	}
}

func (r *Record) try(ctx context.Context, change func(v *View) bool) error {
	v, version, err := r.read(ctx)
	if err != nil || !change(&v) {
		return err
	}
	data, err := v.State.Encode()
	if err != nil {
		return err
	}
	if len(data) > fleet.MaxStateBytes {
		return fmt.Errorf("the record of the fleet would have more than %d bytes", fleet.MaxStateBytes)
	}
	begin := time.Now()
	err = r.Store.Swap(ctx, data, version)
	r.seen("swap", begin, err)
	return err
}

func (r *Record) seen(op string, begin time.Time, err error) {
	if r.Seen != nil {
		r.Seen(op, time.Since(begin), err)
	}
}
