// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// TestResume_SilentDirectory_IsAskedOnce: half a second in all, not for each halt.
func TestResume_SilentDirectory_IsAskedOnce(t *testing.T) {
	t.Parallel()
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	names := newUserNames()
	names.lookup = func(string) (string, error) { <-silent; return "", nil }
	r := rollout.Report{Number: 1}
	for uid := range uint32(20) {
		r.Halts = append(r.Halts, rollout.Halt{UID: uid})
	}
	begin := time.Now()
	lines, _ := planResume(api.Status{Rollouts: []rollout.Report{r}}, control.ActRequest{}, names)
	if took := time.Since(begin); took > 5*nameTimeout || len(lines) != 2*len(r.Halts) {
		t.Errorf("%d lines after %s", len(lines), took)
	}
}
