// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/test/testfleet"
)

// There are more processes that hold their memory than threads may wait for. The test runs alone: for the services of other
// tests these processes could be servers.
func TestHostile_HeldMemory_DelaysNoOther(t *testing.T) {
	underSiege(t, func(t *testing.T, s *siege) { holdMemory(t, 6, s.name) })
}

// A service that starts gives up capabilities on all of its threads. A thread that waits for the memory or file system of
// another process gives up nothing until it has an answer. Such a thread does not end with the service either, but what the
// service held is free for the next.
func TestStart_FilesNeverAnswer_NotDelayed(t *testing.T) {
	takesLong(t)
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := &siege{wholeHost: newWholeHost(t)}
		s.his = s.home(victim)
		s.servers = s.start(s.his, victim, 3)
		var services []*exec.Cmd
		t.Cleanup(func() {
			for _, service := range services {
				_ = service.Wait() // not before the file systems are gone
			}
		})
		holdMemory(t, 6, s.name)
		s.hostileServer(filepath.Join(mounted(t, testfleet.MountMute), testfleet.Mute))
		s.hostileServer(filepath.Join(mounted(t, testfleet.MountSilent), "rag-rat"))
		for range 2 {
			s.his.replace()
			service := exec.Command(thisBinary(t), s.args(source)...)
			service.Env = append(os.Environ(), asProgram+"=1")
			must(t, service.Start())
			t.Cleanup(func() { _ = service.Process.Kill() })
			services = append(services, service)
			s.his.allUpgraded(s.servers)
			must(t, service.Process.Signal(unix.SIGTERM))
			eventually(t, "the service has let go", func() bool {
				held, err := lock.AcquireHost(filepath.Dir(s.socket), "")
				return err == nil && held.Release() == nil
			})
		}
		allUnharmed(t, s.untouched)
	})
}

// holdMemory starts processes that have their memory held until the test ends.
func holdMemory(t *testing.T, n int, name string) {
	t.Helper()
	dir := t.TempDir()
	release, err := testfleet.MountMute(dir)
	must(t, err)
	var held []*testfleet.Held
	t.Cleanup(func() {
		must(t, release()) // first: they end only then
		for _, h := range held {
			h.Stop()
		}
	})
	for range n {
		h, err := testfleet.StartHeld(filepath.Join(dir, testfleet.Mute), name, "mcp")
		held = append(held, h)
		must(t, err)
	}
}

func TestHostile_TerabyteShown_DelaysNoOther(t *testing.T) {
	t.Parallel()
	underSiege(t, func(_ *testing.T, s *siege) {
		for range 20 {
			s.liar("endless", s.his.Path(), s.his.Path(), 0)
		}
	})
}
