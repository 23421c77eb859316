// SPDX-License-Identifier: MIT

package host

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
)

// count is told of each call of the engine. The caller of the engine holds mu.
func (h *Host) count(op string, took time.Duration, err error) {
	result := "ok"
	switch {
	case errors.Is(err, record.ErrConflict):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	h.seen.Requests[Request{op, result}]++
	h.seen.Took[op] += took
}

// Read returns the record as it is, for an operator.
func (h *Host) Read(ctx context.Context) (v record.View, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err = h.change(ctx, func(r *record.View) bool {
		v = *r
		return false
	})
	return v, err
}

// Clear takes the marks of a host away, by its name or its id. It reports whether there were any.
func (h *Host) Clear(ctx context.Context, name string) (found bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err = h.change(ctx, func(v *record.View) bool {
		found = fleet.Clear(&v.State, name)
		return found
	})
	return found, err
}
