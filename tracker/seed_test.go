// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// The programs look up only processes that they, or the seed, have marked.
func TestSeed_EarlierServer_Followed(t *testing.T) {
	t.Parallel()
	var forks, execs, exits *process
	s := newScene(t, func(s *scene, _ *tracker.Config) {
		forks, execs, exits = s.spawn(s.name, "mcp"), s.spawn(s.name, "mcp"), s.spawn(s.name, "mcp")
	})
	s.follows(forks, execs, exits)
}

// kernel.pid_max may be raised after the start, and PIDs are then beyond the marks.
func TestSet_PIDBeyondMarks_Followed(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"seeded": true, "exec'd": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, nil)
			var servers [3]*process
			spawn := func() {
				for i := range servers {
					servers[i] = s.spawn(s.name, "mcp")
				}
			}
			if early {
				spawn()
			}
			s.reopen(tracker.OpenWithoutMarks)
			if !early {
				spawn()
			}
			s.follows(servers[0], servers[1], servers[2])
		})
	}
}

// follows makes one server fork, one exec another program and one exit, and wants an event of each.
func (s *scene) follows(forks, execs, exits *process) {
	s.t.Helper()
	forks.run(s.t, "exec 3<&0; (read -r line <&3) & wait")
	if child := s.awaitFork(); !s.holds(child) {
		s.t.Errorf("the child %d is not held", child)
	}
	execs.run(s.t, "exec sleep infinity")
	s.await(selector.EventExecOther, execs.pid(), selector.EventExit)
	exits.run(s.t, "exit")
	s.await(selector.EventExit, exits.pid())
	for _, p := range []*process{execs, exits} {
		if s.holds(p.pid()) {
			s.t.Errorf("%d is still held", p.pid())
		}
	}
}
