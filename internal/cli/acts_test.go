// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// halted waits until a rollout is halted for these users, and returns the halts.
func (s *scene) halted(c *control.Client, users ...uint32) (halts []rollout.Halt) {
	s.t.Helper()
	eventually(s.t, "the rollout is halted", func() bool {
		halts = onlyRollout(s.status(c)).Halts
		for i, h := range halts {
			if len(halts) != len(users) || h.UID != users[i] {
				return false
			}
		}
		return len(halts) == len(users)
	})
	return halts
}

// deaths waits until so many of a fleet have ended. Then the service makes rounds over all servers, and leaves as many as
// before: a server that it signals in vain is one too many, too.
func deaths(t *testing.T, c *control.Client, when string, want int, fleet []*testfleet.Server) {
	t.Helper()
	eventually(t, when, func() bool { return dead(fleet) >= want })
	from, last := len(allEvents(t, c)), uint64(0)
	settled := func() bool { // no server of the rollout is between its signal and its end
		status, err := c.Status(within(t))
		must(t, err)
		for _, r := range status.Rollouts {
			last = r.Number
			if r.Servers[rollout.Signalled]+r.Servers[rollout.Settling] > 0 {
				return false
			}
		}
		return true
	}
	eventually(t, when+": the rollout stands still", settled)
	for range 2 { // what one round plans, the next one finds done
		if _, err := c.Trigger(within(t), control.TriggerRequest{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, when+": the rollout stands still after a round", settled)
	}
	for _, e := range allEvents(t, c)[from:] {
		if e.Kind == control.EventServer && e.Rollout == last && *e.State == rollout.Signalled {
			t.Errorf("%s: server %d was signalled after that", when, e.PID)
		}
	}
	if n := dead(fleet); n != want {
		t.Fatalf("%s: %d servers died, want %d", when, n, want)
	}
}

func TestResume_BadBinaryStays_CostsOneServer(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(6, nil)
		c := s.serve(source).client(t)
		if err := s.ReplaceExiting(1); err != nil {
			t.Fatal(err)
		}
		s.phase(c, rollout.PhaseHalted)
		deaths(t, c, "after the install", 1, fleet)
		for n := range 2 {
			before := s.halted(c, uint32(os.Geteuid()))
			d := before[0].Deaths
			if len(d) != 1 || d[0].WorkDir == "" || before[0].Behind != 5-n {
				t.Fatalf("the halt is %+v, want the death of one server with its working directory, and %d behind", before, 5-n)
			}
			if code := d[0].ExitCode; exitsAreKnown(t, source) && (code == nil || *code != 1) {
				t.Errorf("the halt is %+v, want exit code 1", before)
			}
			must(t, c.Resume(within(t)))
			deaths(t, c, "after a resume", n+2, fleet)
			after := s.halted(c, uint32(os.Geteuid()))
			if after[0].Deaths[0].PID != before[0].Next {
				t.Errorf("%d died, and %d was said to be next", after[0].Deaths[0].PID, before[0].Next)
			}
		}
		s.replace()
		r := s.phase(c, rollout.PhaseComplete)
		requireServers(t, r, map[rollout.State]int{rollout.Upgraded: 3})
	})
}

func TestAbandon_ServiceKilled_StaysAbandoned(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(3, nil)
		p := newService(t)
		t.Cleanup(func() { removeJournal(s.Path()) })
		p.start(t, thisBinary(t), p.args(s.Path(), source))
		c := p.client(t)
		if err := s.ReplaceExiting(1); err != nil {
			t.Fatal(err)
		}
		s.phase(c, rollout.PhaseHalted)
		request := control.ActRequest{InstallPath: s.Path(), Reason: "it crashes"}
		if _, err := c.Act(within(t), api.ActAbandon, request); err != nil {
			t.Fatal(err)
		}
		p.kill()
		for range 2 {
			p.start(t, thisBinary(t), p.args(s.Path(), source))
			c = p.client(t)
			r := s.phase(c, rollout.PhaseAbandoned)
			if len(r.Abandoned) != 1 || r.Abandoned[0].Reason != request.Reason {
				t.Errorf("the rollout is %+v, want the reason", r)
			}
			must(t, c.Resume(within(t)))
			deaths(t, c, "after it was abandoned", 1, fleet)
			p.kill()
		}
		p.start(t, thisBinary(t), p.args(s.Path(), source))
		c = p.client(t)
		s.replace()
		r := s.phase(c, rollout.PhaseComplete)
		requireServers(t, r, map[rollout.State]int{rollout.Upgraded: 2})
	})
}

func TestResume_OneUser_OtherStaysHalted(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		users := []uint32{4101, 4102}
		fleets := make(map[uint32][]*testfleet.Server)
		for _, uid := range users {
			fleets[uid] = s.startFleet(3, func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} })
		}
		c := s.serve(source).client(t)
		if err := s.ReplaceExiting(1); err != nil {
			t.Fatal(err)
		}
		s.halted(c, users...)
		if _, err := c.Act(within(t), api.ActResume, control.ActRequest{UID: &users[1]}); err != nil {
			t.Fatal(err)
		}
		deaths(t, c, "of the user that was resumed", 2, fleets[users[1]])
		deaths(t, c, "of the other user", 1, fleets[users[0]])
		s.halted(c, users...)
	})
}
