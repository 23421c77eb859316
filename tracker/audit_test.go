// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"context"
	"slices"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// The child of a server looks like its parent until its exec. A scan in between lists it, and the next scan does not.
func TestAudit_CompleteSet_NoDifference(t *testing.T) {
	t.Parallel()
	var child *process
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.Seed = func(ctx context.Context) ([]selector.PID, error) {
			pids, err := s.scan(ctx)
			if child != nil {
				pids, child = append(pids, child.pid()), nil
			}
			return pids, err
		}
	})
	p, hasExecd := s.spawn(s.name, "mcp"), s.spawn("sh", "no", "server")
	child = hasExecd
	d, err := s.Audit(t.Context())
	for _, pid := range []selector.PID{p.pid(), hasExecd.pid()} {
		if err != nil || slices.Contains(d.Missing, pid) || slices.Contains(d.Extra, pid) {
			t.Errorf("Audit = %+v, %v, want no difference about %d", d, err, pid)
		}
	}
	if !s.holds(p.pid()) {
		t.Errorf("%d is not held after the audit", p.pid())
	}
}

// A scan alone finds a process that changed its arguments after its exec.
func TestAudit_MissingProcess_Inserted(t *testing.T) {
	t.Parallel()
	var unknown *process
	s := newScene(t, func(s *scene, c *tracker.Config) {
		c.Seed = func(context.Context) ([]selector.PID, error) {
			if unknown == nil {
				return nil, nil
			}
			return []selector.PID{unknown.pid()}, nil
		}
	})
	unknown = s.spawn("sh", "no", "server")
	d, err := s.Audit(t.Context())
	if err != nil || !slices.Equal(d.Missing, []selector.PID{unknown.pid()}) {
		t.Errorf("Audit = %+v, %v, want %d missing", d, err, unknown.pid())
	}
	if !s.holds(unknown.pid()) || s.stats().AuditMissing != 1 {
		t.Errorf("%d is not held after the audit, or not counted: %+v", unknown.pid(), s.stats())
	}
}
