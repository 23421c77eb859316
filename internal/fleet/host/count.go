// SPDX-License-Identifier: MIT

package host

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
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
		h.seen.Conflicts++
	case err != nil:
		result = "error"
	}
	h.seen.Requests[Request{op, result}]++
	h.seen.Took[op] += took
}

// program keeps the id of a host apart from what other programs make of its machine id.
const program = "ebpf-upgrader fleet host"

// ID returns an id that is the same after each start. Cloned machines share a machine id: the name of the host counts too.
func ID(name string) (string, error) {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || strings.TrimSpace(string(machine)) == "" {
		return "", errors.New("/etc/machine-id is missing or empty: systemd-machine-id-setup writes it")
	}
	return idOf(strings.TrimSpace(string(machine)), name), nil
}

func idOf(machine, name string) string {
	mac := hmac.New(sha256.New, []byte(machine))
	_, _ = mac.Write([]byte(program + "\x00" + name))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Read returns the record as it is, for an operator.
func (h *Host) Read(ctx context.Context) (record.View, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.record.Read(ctx)
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
