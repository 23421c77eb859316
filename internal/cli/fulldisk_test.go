// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// smallRun is a service with a tmpfs of 64 KiB as its run directory.
func smallRun(t *testing.T) (p *service, runDir string) {
	t.Helper()
	p = newService(t)
	runDir = filepath.Join(filepath.Dir(p.socket), "run")
	must(t, os.Mkdir(runDir, 0o755))
	must(t, unix.Mount("test", runDir, "tmpfs", 0, "size=64k,mode=755"))
	t.Cleanup(func() { must(t, unix.Unmount(runDir, unix.MNT_DETACH)) })
	return p, runDir
}

// TestJournal_DiskFull_SignalsAfterRoom: a service starts, a binary lands and a service is killed while nothing can be
// written. No server is signalled, the reason is shown, and all are upgraded once there is room.
func TestJournal_DiskFull_SignalsAfterRoom(t *testing.T) {
	needRoot(t)
	for name, hadJournal := range map[string]bool{"from the start": false, "after a rollout": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				s := newScene(t)
				p, runDir := smallRun(t)
				args := append(p.args(s.Path(), source), "--run-dir", runDir)
				servers := []*testfleet.Server{s.start(nil), s.start(nil), s.start(nil)}
				if hadJournal {
					first := &service{socket: p.socket, stateDir: p.stateDir}
					first.serve(t, args)
					_ = first.client(t)
					s.replace()
					s.allUpgraded(servers)
					first.stop()
				}
				before := signals(servers)
				room := fill(t, runDir)
				killed := &service{socket: p.socket, stateDir: p.stateDir}
				killed.start(t, thisBinary(t), args)
				_ = killed.client(t)
				s.replace()
				requireJournalError(t, killed, servers)
				killed.kill()
				next := &service{socket: p.socket, stateDir: p.stateDir}
				next.serve(t, args)
				requireJournalError(t, next, servers)
				requireSignals(t, servers, before)
				room()
				s.allUpgraded(servers)
				s.phase(next.client(t), rollout.PhaseComplete)
				for i := range before {
					before[i]++
				}
				requireSignals(t, servers, before)
				if text := statusTable(t, next.socket); strings.Contains(text, "no space left") {
					t.Errorf("with room the status is\n%s", text)
				}
			})
		})
	}
}

// requireJournalError waits until a service says why it signals none of its outdated servers.
func requireJournalError(t *testing.T, p *service, servers []*testfleet.Server) {
	t.Helper()
	const want = "no space left on device"
	client := p.client(t)
	eventually(t, "all servers wait for the journal", func() bool {
		known, err := client.Servers(within(t))
		waiting := 0
		for _, k := range known {
			if k.Rollout != nil && k.Rollout.State == rollout.Pending && strings.Contains(k.Rollout.Detail, want) {
				waiting++
			}
		}
		return err == nil && waiting == len(servers)
	})
	if text := statusTable(t, p.socket); !strings.Contains(text, want+": no server is signalled") || strings.Contains(text, "halted") {
		t.Errorf("the status does not say why none is signalled:\n%s", text)
	}
	_, text, _ := command(t, "explain", servers[0].PID().String(), "--socket", p.socket)
	if !strings.Contains(text, want) {
		t.Errorf("explain does not say why it is not signalled:\n%s", text)
	}
	var why string
	must(t, client.Events(within(t), control.EventQuery{}, func(e control.Event) error {
		if e.Kind == control.EventTrouble {
			why = e.Detail
		}
		return nil
	}))
	if !strings.Contains(why, want) {
		t.Errorf("the events give the reason %q", why)
	}
}

func signals(servers []*testfleet.Server) (all []int) {
	for _, server := range servers {
		all = append(all, server.Signals())
	}
	return all
}

func requireSignals(t *testing.T, servers []*testfleet.Server, want []int) {
	t.Helper()
	for i, n := range signals(servers) {
		if n != want[i] {
			t.Errorf("server %d got %d signals, want %d", servers[i].PID(), n, want[i])
		}
	}
}

// TestJournal_FullAfterSignal_NoSecondSignal: the service is killed while a server waits for its running calls. A second
// signal could reach it in the middle of its exec.
func TestJournal_FullAfterSignal_NoSecondSignal(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		p, runDir := smallRun(t)
		args := append(p.args(s.Path(), source), "--run-dir", runDir)
		server := s.start(func(o *testfleet.Options) { o.Behaviour.Drain = testfleet.Duration(10 * time.Second) })
		killed := &service{socket: p.socket, stateDir: p.stateDir}
		killed.start(t, thisBinary(t), args)
		_ = killed.client(t)
		s.replace()
		eventually(t, "the server was signalled", func() bool { return server.Signals() == 1 })
		room := fill(t, runDir)
		killed.kill()
		next := &service{socket: p.socket, stateDir: p.stateDir}
		next.serve(t, args)
		client := next.client(t)
		eventually(t, "the next service knows of it", func() bool {
			known, err := client.Servers(within(t))
			return err == nil && slices.ContainsFunc(known, func(k api.ServerStatus) bool {
				return k.PID == server.PID() && k.Rollout != nil && k.Rollout.State == rollout.Signalled
			})
		})
		room()
		s.upgraded(server)
		requireSignals(t, []*testfleet.Server{server}, []int{1})
	})
}

func statusTable(t *testing.T, socket string) string {
	t.Helper()
	code, stdout, stderr := command(t, "status", "-v", "--socket", socket)
	if code != exitOK {
		t.Fatalf("status: exit code %d: %s", code, stderr)
	}
	return stdout
}

// fill leaves no room on the file system of dir until room is called.
func fill(t *testing.T, dir string) (room func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	must(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, f.Close())
	return func() { must(t, os.Remove(path)) }
}
