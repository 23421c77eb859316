// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// hosts makes the servers of each test their own: a service of the whole host would upgrade those of
// the others.
var hosts atomic.Int32

// wholeHost is a service that learns its installs from the servers of one name.
type wholeHost struct {
	*service
	t    *testing.T
	name string
}

func newWholeHost(t *testing.T) *wholeHost {
	t.Helper()
	return &wholeHost{newService(t), t, fmt.Sprintf("whole-%d-%d", os.Getpid(), hosts.Add(1))}
}

// args are those of a service that loses no time.
func (h *wholeHost) args(source string, more ...string) []string {
	return append([]string{
		"run", "--name", h.name, "--source", source, "--settle", "20ms", "--scan-every", "200ms", "--hold", "200ms",
		"--run-dir", filepath.Dir(h.socket), "--socket", h.socket, "--state-dir", h.stateDir,
	}, more...)
}

// serve runs the service until the test ends.
func (h *wholeHost) serve(source string, more ...string) {
	h.t.Helper()
	next := &service{socket: h.socket, stateDir: h.stateDir}
	next.serve(h.t, h.args(source, more...))
	h.service = next
}

// home is an install of a user, in a folder that no other user may enter.
func (h *wholeHost) home(uid uint32) *scene {
	h.t.Helper()
	s := newScene(h.t)
	if err := os.Chown(s.Dir(), int(uid), int(uid)); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(s.Dir(), 0o700); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// start starts servers of an install, as a user.
func (h *wholeHost) start(s *scene, uid uint32, n int) []*testfleet.Server {
	h.t.Helper()
	servers := make([]*testfleet.Server, n)
	for i := range servers {
		servers[i] = s.start(func(o *testfleet.Options) {
			o.Argv0 = h.name
			if os.Geteuid() == 0 {
				o.Credential = &testfleet.Credential{UID: uid, GID: uid}
			}
		})
	}
	return servers
}

func (h *wholeHost) status() control.Status {
	h.t.Helper()
	status, err := h.client(h.t).Status(within(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	return status
}

// knows waits until the service has looked at so many installs, and they are ready.
func (h *wholeHost) knows(installs int) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%d installs are ready", installs), func() bool {
		ready := 0
		for _, i := range h.status().Installs {
			if i.State == selector.StateReady {
				ready++
			}
		}
		return ready == installs
	})
}

func allUnharmed(t *testing.T, servers []*testfleet.Server) {
	t.Helper()
	for _, server := range servers {
		unharmed(t, server)
	}
}

func askedOnce(t *testing.T, servers []*testfleet.Server) {
	t.Helper()
	for _, server := range servers {
		if n := server.Signals(); n != 1 {
			t.Errorf("server %d got %d signals, want 1", server.PID(), n)
		}
	}
}

func TestTwoUsers_OwnInstalls_EachUpgraded(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		alice, bob := h.home(6001), h.home(6002)
		hers, his := h.start(alice, 6001, 3), h.start(bob, 6002, 3)
		h.serve(source)
		h.knows(2)
		alice.replace()
		alice.allUpgraded(hers)
		allUnharmed(t, his)
		bob.replace()
		bob.allUpgraded(his)
		askedOnce(t, append(hers, his...))
		alice.replace()
		bob.replace()
		alice.allUpgraded(hers)
		bob.allUpgraded(his)
		for _, server := range append(hers, his...) {
			if n := server.Signals(); n != 2 {
				t.Errorf("server %d got %d signals for two installs", server.PID(), n)
			}
		}
	})
}

// TestUserService_OthersServers_NotSignalled: it sees those of others, and may not ask them.
func TestUserService_OthersServers_NotSignalled(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newWholeHost(t)
	his, other, roots := h.home(plain), h.home(6001), h.home(0)
	servers := h.start(his, plain, 3)
	others := append(h.start(other, 6001, 1), h.start(roots, 0, 1)...)
	runtime, env := ownFolders(t, plain)
	background(t, programAs(t, plain, env, "run", "--name", h.name, "--settle", "20ms", "--scan-every", "200ms", "--hold", "200ms", "--run-dir", runtime))
	h.service = &service{socket: filepath.Join(runtime, "control.sock")}
	_ = h.client(t)
	h.knows(1)
	other.replace()
	roots.replace()
	his.replace()
	his.allUpgraded(servers)
	askedOnce(t, servers)
	eventually(t, "it has inspected all servers again", func() bool {
		return h.status().Verdicts[selector.UpToDate] == len(servers)
	})
	allUnharmed(t, others)
	if s := h.status(); s.Source != api.SourceProc || len(s.Installs) != 1 {
		t.Errorf("it serves %d installs from %s, want its own from the scan", len(s.Installs), s.Source)
	}
}

// TestUserService_OwnInstalls_Upgraded needs no right that others do not have.
func TestUserService_OwnInstalls_Upgraded(t *testing.T) {
	t.Parallel()
	h := newWholeHost(t)
	first, second := newScene(t), newScene(t)
	ones, twos := h.start(first, uint32(os.Getuid()), 2), h.start(second, uint32(os.Getuid()), 2)
	h.serve("proc")
	h.knows(2)
	first.replace()
	first.allUpgraded(ones)
	allUnharmed(t, twos)
	second.replace()
	second.allUpgraded(twos)
}

// The file that the server runs was replaced before the service inspected the server.
func TestServer_NewInstall_Upgraded(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		h.serve(source)
		h.knows(0)
		s := newScene(t)
		old := filepath.Join(s.Dir(), "old")
		must(t, os.Link(s.Path(), old))
		s.replace()
		var servers []*testfleet.Server
		for range 2 {
			servers = append(servers, s.start(func(o *testfleet.Options) { o.Binary, o.Argv0 = old, h.name }))
		}
		s.allUpgraded(servers)
		askedOnce(t, servers)
	})
}

func TestUsers_OneFile_OneRollout(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		shared := newScene(t)
		servers := append(h.start(shared, 6001, 2), h.start(shared, 6002, 2)...)
		h.serve(source)
		h.knows(2)
		if s := h.status(); len(s.Rollouts) != 1 {
			t.Errorf("%d rollouts of one file, want 1", len(s.Rollouts))
		}
		shared.replace()
		shared.allUpgraded(servers)
		askedOnce(t, servers)
	})
}

// mustInstall installs the server binary into a folder.
func mustInstall(t *testing.T, dir string) *testfleet.Install {
	t.Helper()
	i, err := testfleet.NewInstall(dir, serverBinary())
	if err != nil {
		t.Fatal(err)
	}
	return i
}
