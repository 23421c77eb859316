// SPDX-License-Identifier: MIT

package fleet_test

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// TestRule_LateFailureInLastWave_StaysOpen: a wave that has its hosts all the same is proven still.
func TestRule_LateFailureInLastWave_StaysOpen(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	through(t, p, &s, 0, 2, begin)
	through(t, p, &s, 2, 5, begin.Add(time.Hour))
	now := begin.Add(3 * time.Hour)
	through(t, p, &s, 5, 8, now)
	late := host(6)
	late.Counted = true
	p.Fail(&s, late, release, "SIGSEGV", now)
	if r := s.Find(release); r.Done != 7 || len(r.Proven) != 2 {
		t.Errorf("%+v", *r)
	}
	p.Fail(&s, host(7), release, "SIGSEGV", now) // its state directory was lost
	if r := s.Find(release); r.Done != 7 || len(r.Failed) != 2 {
		t.Errorf("%+v", *r)
	}
	enter(t, p, &s, 9, now, fleet.Granted)
}

func TestClear_TwoReleases_BothMarksGo(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	const other = "sha256:71aa03be"
	p.Fail(&s, host(0), release, "died", begin)
	p.Fail(&s, host(0), other, "died", begin)
	if !fleet.Clear(&s, "node-0") || len(s.Find(release).Failed)+len(s.Find(other).Failed) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBake_LastWave_IsThatOfTheWaveBefore(t *testing.T) {
	p := small()
	for k, want := range []time.Duration{30 * time.Minute, time.Hour, time.Hour} {
		if got := p.Bake(k); got != want {
			t.Errorf("wave %d bakes for %s, want %s", k, got, want)
		}
	}
}

func TestRule_TwoReleases_ShareTheSlots(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	enter(t, p, &s, 0, begin, fleet.Granted)
	const other = "sha256:71aa03be"
	if a, _ := p.Enter(&s, host(1), other, begin); a.Reason != fleet.Full {
		t.Errorf("%+v", a)
	}
	p.Done(&s, host(0), release, begin)
	if a, _ := p.Enter(&s, host(1), other, begin); !a.Granted() {
		t.Errorf("%+v", a)
	}
}

func TestRule_PromoteOfAnother_OpensNothing(t *testing.T) {
	p, s := small(), fleet.State{Version: 1}
	p.Promote = map[string]int{"71aa03be": 2}
	if a := enter(t, p, &s, 0, begin, fleet.Granted); a.Wave != 0 {
		t.Errorf("%+v", a)
	}
}

func TestWait_TriesInARow_DoubleTheWait(t *testing.T) {
	for tries, want := range []time.Duration{1: 5 * time.Millisecond, 2: 10 * time.Millisecond, 5: 80 * time.Millisecond, 20: 2 * time.Second} {
		if got := fleet.Conflict(tries, 1); want > 0 && got != want {
			t.Errorf("%s after %d tries, want %s", got, tries, want)
		}
	}
	if got := fleet.Retry(20, 1); got != fleet.MaxWait {
		t.Errorf("%s", got)
	}
}
