// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// TestAServerThatWasSeededIsFollowed: the programs look up only whom they, or the seed, have marked.
func TestAServerThatWasSeededIsFollowed(t *testing.T) {
	t.Parallel()
	var forks, execs, exits *process
	s := newScene(t, func(s *scene, _ *tracker.Config) {
		forks, execs, exits = s.spawn(s.name, "mcp"), s.spawn(s.name, "mcp"), s.spawn(s.name, "mcp")
	})
	s.follows(forks, execs, exits)
}

// TestAServerWithANumberBeyondTheMarksIsFollowed: pid_max may be raised after the start.
func TestAServerWithANumberBeyondTheMarksIsFollowed(t *testing.T) {
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

// follows has one server fork, one exec something else, and one exit, and wants to be told of each.
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
