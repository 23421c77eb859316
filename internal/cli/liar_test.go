// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// Two users that share an installed file.
const (
	userOfLiar = 6667
	otherUser  = 6668
)

// liarScene has a server that execs a file of its own instead of the installed one, six more servers of its user, and
// six of another user. The liar watches the install, so that it is the canary of its user.
func liarScene(t *testing.T, own string) (s *scene, liar *testfleet.Server, itsUsers, others []*testfleet.Server) {
	t.Helper()
	s = newScene(t)
	of := func(uid uint32) func(*testfleet.Options) {
		return func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} }
	}
	itsUsers = s.startFleet(6, of(userOfLiar))
	liar = s.start(func(o *testfleet.Options) {
		of(userOfLiar)(o)
		o.Behaviour.Execs, o.Behaviour.WatchDir = own, s.Dir()
	})
	return s, liar, itsUsers, s.startFleet(6, of(otherUser))
}

// memberOf is what the service says of a server's part in the rollout.
func memberOf(t *testing.T, c *control.Client, server *testfleet.Server) rollout.Member {
	t.Helper()
	servers, err := c.Servers(within(t))
	must(t, err)
	for _, s := range servers {
		if s.PID == server.PID() && s.Rollout != nil {
			return *s.Rollout
		}
	}
	return rollout.Member{}
}

// TestLiar_ExecsOwnFile_ProvesNothing: it arms itself in a file of its own choice, and the installed one is bad.
func TestLiar_ExecsOwnFile_ProvesNothing(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s, liar, itsUsers, others := liarScene(t, newScene(t).Path())
		c := s.serve(source, "--gate", "off").client(t)
		must(t, s.ReplaceExiting(1))
		must(t, liar.AwaitArmed(within(t), 1))
		r := s.phase(c, rollout.PhaseHalted)
		if m := memberOf(t, c, liar); m.State != rollout.TimedOut {
			t.Errorf("the liar is %+v, want it timed out", m)
		}
		requireDead(t, itsUsers, 1)
		requireDead(t, others, 1)
		if len(r.Halts) != 2 || r.Deaths != 2 {
			t.Errorf("the rollout is %+v, want a death and a halt of each user", r)
		}
	})
}

// TestLiar_OwnFileExits_HaltsNoOtherUser: the installed file is good. Whether the end of the liar counts as a death depends
// on whether it was inspected in its own file before.
func TestLiar_OwnFileExits_HaltsNoOtherUser(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		own := newScene(t)
		must(t, own.ReplaceExiting(1))
		s, liar, itsUsers, others := liarScene(t, own.Path())
		c := s.serve(source, "--gate", "off").client(t)
		s.replace()
		for _, server := range others {
			s.upgraded(server)
		}
		requireDead(t, []*testfleet.Server{liar}, 1)
		requireDead(t, append(itsUsers, others...), 0)
		for _, h := range onlyRollout(s.status(c)).Halts {
			if h.UID != userOfLiar {
				t.Errorf("the halts have %+v, want none but of the liar's user", h)
			}
		}
	})
}
