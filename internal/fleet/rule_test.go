// SPDX-License-Identifier: MIT

package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

const release = "sha256:9f2c41d000000000000000000000000000000000000000000000000000000000"

var begin = time.Date(2026, 11, 29, 21, 0, 0, 0, time.UTC)

// small is a policy with waves of 2, 5 and all.
func small() fleet.Policy {
	return fleet.Policy{Version: 1, Vanish: fleet.Duration(10 * time.Minute), Waves: []fleet.Wave{
		{Name: "canary", Hosts: 2, Slots: 1, Bake: fleet.Duration(30 * time.Minute), MaxFailed: 1},
		{Name: "early", Hosts: 5, Slots: 2, Bake: fleet.Duration(time.Hour), MaxFailed: 2},
		{Name: "all", Slots: 3, MaxFailed: 3},
	}}
}

func host(n int) fleet.Host {
	return fleet.Host{ID: fmt.Sprintf("id-%d", n), Name: fmt.Sprintf("node-%d", n)}
}

// enter asks for host n and wants this reason.
func enter(t *testing.T, p fleet.Policy, s *fleet.State, n int, now time.Time, want fleet.Reason) fleet.Answer {
	t.Helper()
	a, _ := p.Enter(s, host(n), release, now)
	if a.Reason != want {
		t.Fatalf("host %d: %s (%s), want %s; record %+v", n, a.Reason, a.Text, want, *s)
	}
	return a
}

// through brings hosts from to to-1 through the wave.
func through(t *testing.T, p fleet.Policy, s *fleet.State, from, to int, now time.Time) {
	t.Helper()
	for n := from; n < to; n++ {
		enter(t, p, s, n, now, fleet.Granted)
		if !p.Done(s, host(n), release, now) {
			t.Fatalf("host %d is not counted", n)
		}
	}
}

func TestRule_WaveBaked_NextOpens(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	enter(t, p, &s, 1, begin, fleet.Full)
	p.Done(&s, host(0), release, begin)
	enter(t, p, &s, 1, begin, fleet.Granted)
	enter(t, p, &s, 2, begin, fleet.NotDone)
	p.Done(&s, host(1), release, begin)

	a := enter(t, p, &s, 2, begin.Add(29*time.Minute), fleet.Baking)
	if want := begin.Add(30 * time.Minute); !a.Until.Equal(want) {
		t.Errorf("until %s, want %s", a.Until, want)
	}
	if want := "wave canary bakes until 21:30 UTC (2 of 2 hosts done)"; a.Text != want {
		t.Errorf("text %q, want %q", a.Text, want)
	}
	now := begin.Add(30 * time.Minute)
	through(t, p, &s, 2, 5, now)
	enter(t, p, &s, 5, now.Add(59*time.Minute), fleet.Baking)
	through(t, p, &s, 5, 50, now.Add(time.Hour))
}

func TestRule_Failure_HaltsEverywhere(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	p.Fail(&s, host(0), release, "1 of 14 servers died", begin)
	a := enter(t, p, &s, 1, begin, fleet.Halted)
	if !strings.Contains(a.Text, "node-0") {
		t.Errorf("text %q does not name the host", a.Text)
	}
	enter(t, p, &s, 0, begin, fleet.Failed)
	other, _ := p.Enter(&s, host(0), "sha256:71aa03be", begin)
	if !other.Granted() {
		t.Errorf("the failed host must be free for another release: %+v", other)
	}
	if !fleet.Clear(&s, "node-0") {
		t.Error("no mark to clear")
	}
	enter(t, p, &s, 1, begin.Add(time.Hour), fleet.Granted)
}

func TestRule_FailureInBudget_MakesPlace(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	through(t, p, &s, 0, 2, begin)
	now := begin.Add(time.Hour)
	enter(t, p, &s, 2, now, fleet.Granted)
	p.Fail(&s, host(2), release, "died", now)
	through(t, p, &s, 3, 6, now)
	enter(t, p, &s, 6, now, fleet.Baking)
}

func TestRule_LateFailure_CountsOnce(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	through(t, p, &s, 0, 2, begin)
	for range 3 {
		p.Fail(&s, host(1), release, "SIGSEGV after 9m", begin.Add(9*time.Minute))
	}
	r := s.Find(release)
	if r.Done != 1 || len(r.Failed) != 1 || len(r.Proven) != 0 {
		t.Fatalf("%+v", *r)
	}
	enter(t, p, &s, 2, begin.Add(time.Hour), fleet.Halted)
	fleet.Clear(&s, "id-1")
	// The wave has lost its proof: it bakes again.
	again := begin.Add(2 * time.Hour)
	through(t, p, &s, 2, 3, again)
	a := enter(t, p, &s, 3, again, fleet.Baking)
	if !a.Until.Equal(again.Add(30 * time.Minute)) {
		t.Errorf("until %s", a.Until)
	}
}

func TestRule_Vanished_CountsUntilItIsBack(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	enter(t, p, &s, 1, begin.Add(10*time.Minute), fleet.Full)
	enter(t, p, &s, 1, begin.Add(10*time.Minute+time.Second), fleet.Halted)
	if f := s.Find(release).Failed; len(f) != 1 || f[0].Why != "vanished" || f[0].Name != "node-0" {
		t.Fatalf("%+v", f)
	}
	p.Done(&s, host(0), release, begin.Add(time.Hour))
	if r := s.Find(release); r.Done != 1 || len(r.Failed) != 0 {
		t.Fatalf("%+v", *r)
	}
	enter(t, p, &s, 1, begin.Add(time.Hour), fleet.Granted)
}

func TestRule_SeatRenewed_IsKept(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	for i := range 20 {
		now := begin.Add(time.Duration(i) * p.Renew())
		enter(t, p, &s, 0, now, fleet.Granted)
		enter(t, p, &s, 1, now, fleet.Full)
	}
	// A host that comes late and finds its seat has it.
	enter(t, p, &s, 0, begin.Add(24*time.Hour), fleet.Granted)
}

func TestRule_NothingProven_PlaceIsGivenBack(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	p.Nothing(&s, "id-0", release, false, begin)
	if r := s.Find(release); r.Entered() != 0 {
		t.Fatalf("%+v", *r)
	}
	// With the file in place: the slot at once, the place after vanish, without a mark.
	enter(t, p, &s, 0, begin, fleet.Granted)
	p.Nothing(&s, "id-0", release, true, begin)
	enter(t, p, &s, 1, begin, fleet.Granted)
	enter(t, p, &s, 2, begin, fleet.NotDone)
	enter(t, p, &s, 1, begin.Add(10*time.Minute), fleet.Granted)
	enter(t, p, &s, 2, begin.Add(11*time.Minute), fleet.Full)
	if r := s.Find(release); len(r.Failed) != 0 || r.Entered() != 1 {
		t.Fatalf("%+v", *r)
	}
	// A server came in time: the host is done.
	s = fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	p.Nothing(&s, "id-0", release, true, begin)
	if !p.Done(&s, host(0), release, begin) || p.Done(&s, host(0), release, begin) {
		t.Fatal("an idle host that proves the release is done, once")
	}
}

func TestRule_IdleHosts_EnterTheLastWaveOnly(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	idle := fleet.Host{ID: "idle", Name: "idle", Idle: true}
	if a, _ := p.Enter(&s, idle, release, begin); a.Reason != fleet.IdleHost {
		t.Fatal(a)
	}
	p.Promote = map[string]int{"9f2c41d0": 2}
	if a, _ := p.Enter(&s, idle, release, begin); !a.Granted() || a.Wave != 2 {
		t.Fatal(a)
	}
	p.Nothing(&s, "idle", release, true, begin)
	if r := s.Find(release); r.Entered() != 0 {
		t.Fatalf("%+v", *r)
	}
}

func TestRule_OperatorsWord_IsObeyed(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	p.Paused = "until Monday"
	enter(t, p, &s, 0, begin, fleet.Paused)
	p.Paused, p.Pinned = "", "71aa03be"
	enter(t, p, &s, 0, begin, fleet.Pinned)
	p.Pinned = "9f2c41d0"
	enter(t, p, &s, 0, begin, fleet.Granted)
	// A host with a seat keeps it.
	p.Paused = "again"
	enter(t, p, &s, 0, begin.Add(time.Hour), fleet.Granted)
	p = small()
	p.Waves[0].Only = []string{"canary", "lab"}
	s = fleet.State{Version: 1}
	if a := enter(t, p, &s, 0, begin, fleet.Ring); a.Text != "wave canary takes ring canary, lab only" {
		t.Error(a.Text)
	}
	if a, _ := p.Enter(&s, fleet.Host{ID: "x", Ring: "lab"}, release, begin); !a.Granted() {
		t.Error(a)
	}
}

func TestRule_ProvenRelease_NeedsNoWaves(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	through(t, p, &s, 0, 2, begin)
	through(t, p, &s, 2, 5, begin.Add(time.Hour))
	day := begin.Add(24 * time.Hour)
	for n := range 7 {
		p.Enter(&s, host(0), fmt.Sprintf("sha256:0000000%d", n), day)
		p.Nothing(&s, "id-0", fmt.Sprintf("sha256:0000000%d", n), false, day)
	}
	for n := range 3 {
		enter(t, p, &s, n, day, fleet.Granted)
	}
	enter(t, p, &s, 3, day, fleet.Full)
}

func TestRule_ManyReleases_OldestIsForgotten(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	p.Waves[0].Slots = 2
	enter(t, p, &s, 0, begin, fleet.Granted)
	for n := range 20 {
		other := fmt.Sprintf("sha256:%08d", n)
		p.Enter(&s, host(1), other, begin)
		p.Nothing(&s, "id-1", other, false, begin)
	}
	if len(s.Releases) != 8 || s.Find(release) == nil {
		t.Fatalf("%d releases, and the one with a seat must be there: %+v", len(s.Releases), s)
	}
}

func TestRule_ClockJumps_HealsItself(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	enter(t, p, &s, 1, begin.Add(-1000*time.Hour), fleet.Full)
	enter(t, p, &s, 0, begin.Add(-1000*time.Hour), fleet.Granted)
	enter(t, p, &s, 1, begin.Add(1000*time.Hour), fleet.Halted)
	enter(t, p, &s, 0, begin, fleet.Granted)
	enter(t, p, &s, 1, begin, fleet.Full)
}

func TestRule_TooManyFailures_RecordStaysSmall(t *testing.T) {
	p, s := fleet.DefaultPolicy(), fleet.State{Version: 1}
	for rel := range 8 {
		id := fmt.Sprintf("sha256:%064d", rel)
		for n := range 120 {
			h := fleet.Host{ID: fmt.Sprintf("%016d", n), Name: strings.Repeat("<\x1b\"", 100)}
			p.Fail(&s, h, id, strings.Repeat("\"\x00ü", 100), begin)
		}
	}
	data, err := s.Encode()
	if err != nil || len(data) > fleet.MaxStateBytes {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if _, err := fleet.ParseState(data); err != nil {
		t.Fatal(err)
	}
}
