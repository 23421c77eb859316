// SPDX-License-Identifier: MIT

//go:build linux

package engines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/test/testfleet"
)

// scenePolicy has a canary wave of three hosts, two of them at a time.
const scenePolicy = `{"version":1,"vanish":"1m","waves":[
 {"name":"canary","hosts":3,"slots":2,"bake":"2s","max_failed":1},
 {"name":"early","hosts":10,"slots":5,"bake":"2s","max_failed":2},
 {"name":"all","slots":10,"max_failed":3}]}`

// TestScene_BadFile_CostsCanariesOnly stages a file that passes the check and ends each server, then a good one, on all hosts
// at once.
func TestScene_BadFile_CostsCanariesOnly(t *testing.T) {
	s := newSite(t, serviceCount, scenePolicy)
	for _, m := range s.hosts {
		m.serve(serversEach, testfleet.Behaviour{})
	}
	bad := s.stage([]byte(badContent), s.hosts...)
	r := s.until(bad, "the fleet is not halted", func(r fleet.Release) bool { return len(r.Failed) > 0 && len(r.Seats) == 0 })
	for _, f := range r.Failed {
		if f.Vanished { // silence halts the fleet as well, later
			t.Errorf("%s does not tell that the file failed", f.Name)
		}
	}
	for _, m := range s.hosts {
		m.poke()
		m.tells("halted in wave canary", "died")
	}
	servers, hosts := s.dead()
	t.Logf("the bad file ended %d of %d servers, on %d of %d hosts", servers, serversEach*len(s.hosts), hosts, len(s.hosts))
	// Two hosts have a seat at a time, and each loses one server, its canary.
	if servers == 0 || servers > 2 || s.release(bad).Done != 0 {
		t.Errorf("%d servers on %d hosts; the record is %+v", servers, hosts, s.release(bad))
	}

	good := s.stage(s.content(), s.hosts...)
	s.until(good, "not each host is done", isDone(len(s.hosts)))
	for _, m := range s.hosts {
		m.upgraded()
	}
	if after, _ := s.dead(); after != servers {
		t.Errorf("the good file ended %d servers", after-servers)
	}
	s.boundsHeld()
}

// TestScene_LateCrash_HaltsAll ends a server of a canary host by SIGSEGV while the other hosts wait for the canaries to bake.
func TestScene_LateCrash_HaltsAll(t *testing.T) {
	s := newSite(t, serviceCount, strings.Replace(scenePolicy, `"bake":"2s"`, `"bake":"1h"`, 1))
	alive := filepath.Join(s.dir, "alive")
	if err := os.WriteFile(alive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	canaries, others := s.hosts[:3], s.hosts[3:]
	canaries[0].serve(1, testfleet.Behaviour{Later: &testfleet.Behaviour{From: 1, End: &testfleet.End{When: alive, Signal: syscall.SIGSEGV}}})
	for _, m := range s.hosts {
		m.serve(serversEach-len(m.servers), testfleet.Behaviour{})
	}
	content := s.content()
	id := s.stage(content, canaries...)
	s.until(id, "not each canary host is done", isDone(3))
	s.stage(content, others...)
	for _, m := range others {
		m.tells("wave canary bakes until")
	}
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	r := s.until(id, "the late crash is not told", func(r fleet.Release) bool { return len(r.Failed) > 0 })
	if f := r.Failed[0]; f.Name != canaries[0].name || !strings.Contains(f.Why, "crashed: signal: segmentation fault") || r.Done != 2 {
		t.Errorf("%+v", r)
	}
	t.Logf("%s failed: %s", r.Failed[0].Name, r.Failed[0].Why)
	for _, m := range others {
		m.poke()
		m.tells("halted in wave canary: failed on " + canaries[0].name)
		for _, server := range m.servers {
			if server.Generation() != 0 || isOver(server.Exited()) {
				t.Errorf("%s: server %d of generation %d", m.name, server.PID(), server.Generation())
			}
		}
	}
	if servers, _ := s.dead(); servers != 1 {
		t.Errorf("%d servers ended", servers)
	}
}

// seatPolicy gives one host at a time a seat, and a host may fail.
const seatPolicy = `{"version":1,"vanish":"6s","waves":[{"name":"all","slots":1,"max_failed":2}]}`

const vanish = 6 * time.Second

// held is a site with one host that has the only seat: its servers are busy until the file is removed.
func held(t *testing.T) (s *site, busy, id string) {
	t.Helper()
	s = newSite(t, 4, seatPolicy)
	busy = filepath.Join(s.dir, "busy")
	if err := os.WriteFile(busy, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := s.hosts[0]
	first.stop()
	first.again("--quiet-within", "1h")
	first.serve(1, testfleet.Behaviour{Busy: busy})
	for _, m := range s.hosts[1:] {
		m.serve(1, testfleet.Behaviour{})
	}
	content := s.content()
	id = s.stage(content, first)
	first.is(stage.Activated)
	s.stage(content, s.hosts[1:]...)
	for _, m := range s.hosts[1:] {
		m.tells("all 1 slots of wave all are taken")
	}
	s.renewed(id)
	return s, busy, id
}

// renewed waits until the first host has renewed its seat, the only one.
func (s *site) renewed(id string) {
	s.t.Helper()
	before := s.release(id).Seats
	eventually(s.t, patience, "the seat is not renewed", func() error {
		now := s.release(id)
		if len(now.Seats) != 1 || now.Seats[0].Name != s.hosts[0].name || len(now.Failed) > 0 {
			s.t.Fatalf("the record is %+v", now)
		}
		if !now.Seats[0].Time.After(before[0].Time) {
			return fmt.Errorf("%+v", now.Seats)
		}
		return nil
	})
}

// TestScene_KilledWithSeat_HoldsUpForVanish kills the service of a host that has a seat, for good.
func TestScene_KilledWithSeat_HoldsUpForVanish(t *testing.T) {
	s, busy, id := held(t)
	first := s.hosts[0]
	first.service.kill()
	last := s.release(id).Seats[0].Time
	r := s.until(id, "no other host goes", func(r fleet.Release) bool { return len(r.Failed) > 0 })
	if f := r.Failed[0]; f.Name != first.name || !f.Vanished {
		t.Errorf("%+v", r)
	}
	// Seats tell seconds, hosts are poked in a loop.
	heldUp := r.Failed[0].Time.Sub(last)
	t.Logf("the others were held up for %s after the last sign of the host", heldUp)
	if heldUp < vanish || heldUp > vanish+5*time.Second {
		t.Errorf("want %s", vanish)
	}
	s.until(id, "the others are not done", func(r fleet.Release) bool { return r.Done == 3 && len(r.Seats) == 0 })

	first.again("--quiet-within", "1h")
	if err := os.Remove(busy); err != nil {
		t.Fatal(err)
	}
	s.until(id, "the host is not back", isDone(4))
	first.upgraded()
}

// TestScene_Restart_KeepsTheSeat ends the service of a host that has a seat, and starts it again.
func TestScene_Restart_KeepsTheSeat(t *testing.T) {
	s, busy, id := held(t)
	first := s.hosts[0]
	first.stop()
	first.again("--quiet-within", "1h")
	s.renewed(id)
	for _, state := range s.history() {
		if r := state.Find(id); r != nil && (len(r.Seats) != 1 || r.Seats[0].Name != first.name || len(r.Failed) > 0) {
			t.Errorf("the record was %+v", r)
		}
	}
	if err := os.Remove(busy); err != nil {
		t.Fatal(err)
	}
	s.until(id, "not each host is done", isDone(4))
	for _, m := range s.hosts {
		m.upgraded()
	}
	s.boundsHeld()
}

// TestScene_InstalledByItself_UpgradesAtOnce installs a file over PATH while the fleet is paused and another file waits.
func TestScene_InstalledByItself_UpgradesAtOnce(t *testing.T) {
	s := newSite(t, 3, strings.Replace(scenePolicy, `{`, `{"paused":"lunch",`, 1))
	for _, m := range s.hosts {
		m.serve(serversEach, testfleet.Behaviour{})
	}
	id := s.stage(s.content(), s.hosts...)
	for _, m := range s.hosts {
		m.tells("the fleet is paused: lunch")
	}
	for _, m := range s.hosts {
		if err := m.Replace(s.ragRat); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range s.hosts {
		m.upgraded()
		m.tells("the fleet is paused: lunch")
	}
	if r := s.release(id); r.Entered() != 0 {
		t.Errorf("the record is %+v", r)
	}
	if servers, _ := s.dead(); servers > 0 {
		t.Errorf("%d servers ended", servers)
	}
}
