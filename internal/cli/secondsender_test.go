// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	chaoswitness "ebpf-upgrader/test/chaos/witness"
)

// TestSecondService_SameInstall_Rejected: only one may send.
func TestSecondService_SameInstall_Rejected(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		service := s.serve(source)
		service.client(t)
		second := []string{"run", "--install-path", s.Path(), "--source", source, "--socket", filepath.Join(t.TempDir(), "s"), "--state-dir", t.TempDir()}
		if code, _, _ := command(t, second...); code != exitFailure {
			t.Errorf("a second service: exit code %d, want %d", code, exitFailure)
		}
		trigger := []string{"trigger", "--install-path", s.Path(), "--settle", "1ms"}
		if code, _, _ := command(t, append(trigger, "--no-service")...); code != exitFailure {
			t.Errorf("trigger --no-service: exit code %d, want %d", code, exitFailure)
		}
		s.replace()
		code, stdout, stderr := command(t, append(trigger, "-o", "json")...)
		var got outcome
		err := json.Unmarshal([]byte(stdout), &got)
		want := exitOK
		if got.Rollout.Servers[rollout.Skipped] > 0 { // another test's, as below
			want = exitBehind
		}
		if code != want || err != nil {
			t.Fatalf("trigger: exit code %d, want %d, %v\n%s%s", code, want, err, stdout, stderr)
		}
		requireServers(t, got.Rollout, map[rollout.State]int{rollout.Upgraded: 1})
		s.upgraded(server)
		if n := server.Signals(); n > 1 {
			t.Errorf("the server got %d signals, want one", n)
		}
	})
}

// The servers' own trigger fires at random up to 3 s after each of three installs. It reads /proc only, where a server in the
// middle of its exec is unchanged; so it may kill. The service must not: it sees the signals of the trigger. A program of the
// test reports the sender of the last signal to each server that died.
func TestSecondSender_AtTheSameTime_NoDeathByOurs(t *testing.T) {
	takesLong(t)
	needRoot(t)
	own, program := build(t, "../../test/testfleet/owntrigger"), build(t, "../../cmd/ebpf-upgrader")
	s := newScene(t)
	fleet := s.startFleet(30, nil)
	watch, err := chaoswitness.Open()
	if err != nil {
		t.Fatal(err)
	}
	p := newService(t)
	p.start(t, program, append(p.args(s.Path(), "bpf"), "--max-failures", "100"))
	ours := s.status(p.client(t)).PID
	var others sync.WaitGroup
	for range 3 {
		s.replace()
		for _, server := range fleet {
			others.Go(func() {
				time.Sleep(rand.N(3 * time.Second))                          // as the servers' own trigger does
				_ = exec.Command(own, server.PID().String(), s.Path()).Run() // it may have nothing to do
			})
		}
		others.Wait()
	}
	records, err := watch.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range fleet {
		select {
		case <-server.Exited():
			if of := endOf(server.PID(), records); killedBy(of, ours) {
				t.Errorf("server %d died of our signal (%v): %+v", server.PID(), server.ExitState(), of)
			}
		default:
			s.upgraded(server)
		}
	}
	t.Logf("%d of %d servers died of the other sender's signals", dead(fleet), len(fleet))
}

// endOf is what was seen of a process, in the order of time.
func endOf(pid selector.PID, records []chaoswitness.Record) []chaoswitness.Record {
	of := slices.DeleteFunc(slices.Clone(records), func(r chaoswitness.Record) bool { return selector.PID(r.Process) != pid })
	slices.SortStableFunc(of, func(a, b chaoswitness.Record) int { return cmp.Compare(a.At, b.At) })
	return of
}

// killedBy reports whether the last signal that took effect is ours, and no other sender's came right before it: between
// our last look and our signal nothing can help.
func killedBy(of []chaoswitness.Record, ours selector.PID) bool {
	const tooClose = uint64(20 * time.Millisecond)
	var last, other chaoswitness.Record
	for _, r := range of {
		if r.Kind != chaoswitness.Signalled || !r.Delivered() {
			continue
		}
		if last = r; selector.PID(r.Sender) != ours {
			other = r
		}
	}
	return selector.PID(last.Sender) == ours && (other.At == 0 || last.At-other.At > tooClose)
}
