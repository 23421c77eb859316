// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
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

func TestContainers_OwnInstalls_EachUpgraded(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		var installs []*scene
		var servers []*testfleet.Server
		for range 3 {
			c := newContainer(t)
			install := c.install("/opt/agent")
			installs, servers = append(installs, install), append(servers, c.start(install, h.name))
		}
		outside := newScene(t)
		installs, servers = append(installs, outside), append(servers, h.start(outside, 0, 1)...)
		h.serve(source)
		h.knows(len(installs))
		for i, install := range installs {
			install.replace()
			install.upgraded(servers[i])
			allUnharmed(t, servers[i+1:])
		}
		askedOnce(t, servers)
		for _, i := range h.status().Installs {
			if inside := i.Path == "/opt/agent/rag-rat"; inside != (i.Container != "") {
				t.Errorf("%q is said to be in container %q", i.Path, i.Container)
			}
		}
	})
}

func TestContainers_Podman_UpgradedAndNamed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		var installs []*scene
		var servers []*testfleet.Server
		var ids []string
		for range 2 {
			c, id := newPodman(t)
			install := c.install("/opt/agent")
			server := c.start(install, h.name)
			c.join(server.PID())
			installs, servers, ids = append(installs, install), append(servers, server), append(ids, id)
		}
		h.serve(source, "--container", ids[0][:12], "--container", ids[1])
		h.knows(2)
		installs[0].replace()
		installs[0].upgraded(servers[0])
		unharmed(t, servers[1])
		installs[1].replace()
		installs[1].upgraded(servers[1])
		askedOnce(t, servers)
		for _, i := range h.status().Installs {
			if !slices.Contains(ids, i.Container) {
				t.Errorf("%q is said to be in container %q, want one of %q", i.Path, i.Container, ids)
			}
		}
	})
}

// TestContainers_SharedFolder_ShareInstall: with each other and with the host.
func TestContainers_SharedFolder_ShareInstall(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		shared := newScene(t)
		var servers []*testfleet.Server
		for range 3 {
			c := newContainer(t, shared.Dir(), "/shared")
			path := "/shared/rag-rat"
			servers = append(servers, shared.start(func(o *testfleet.Options) {
				o.Binary, o.UpgradeBin, o.Argv0, o.Enter = path, &path, h.name, c.enter
			}))
		}
		servers = append(servers, h.start(shared, 0, 1)...)
		h.serve(source)
		h.knows(4)
		if s := h.status(); len(s.Rollouts) != 1 {
			t.Errorf("%d rollouts of one file, want 1", len(s.Rollouts))
		}
		shared.replace()
		shared.allUpgraded(servers)
		askedOnce(t, servers)
	})
}

// TestContainer_Ended_WatchesRemoved, and while it lives, what is mounted in it can be taken
// away at any time.
func TestContainer_Ended_WatchesRemoved(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		c := newContainer(t)
		c.run("mkdir", "/mounted")
		c.run("mount", "-t", "tmpfs", "tmpfs", "/mounted")
		mounted, stays := c.install("/mounted/bin"), c.install("/opt/agent")
		server := c.start(mounted, h.name)
		c.start(stays, h.name)
		h.serve(source, "--forget-after", "1ms")
		h.knows(2)
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		c.run("umount", "/mounted") // fails with EBUSY while a process holds it
		c.end()
		eventually(t, "no install is watched", func() bool {
			status, err := h.client(t).Status(within(t))
			return err == nil && len(status.Installs) == 0 && status.Watching.Installs == 0 && status.Watching.Watches == 0
		})
	})
}

func TestOverlay_CopyUp_NoSignal(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		lower := newScene(t) // on the host, and below the container's overlay
		c := newContainer(t)
		path := lower.Path()
		server := lower.start(func(o *testfleet.Options) { o.Argv0, o.Enter = h.name, c.enter })
		h.serve(source)
		h.knows(1)
		before := server.Image()
		c.run("touch", path) // copies it up
		c.run("chmod", "755", path)
		copied := imageAt(t, filepath.Join(c.root, path))
		eventually(t, "the service has looked at the copied file", func() bool {
			i := h.status().Installs
			return len(i) == 1 && i[0].State == selector.StateReady && i[0].Image == copied
		})
		report, err := h.client(t).Trigger(within(t), control.TriggerRequest{InstallPath: path})
		must(t, err)
		if got := verdictOf(t, report, server.PID()); got.Verdict != selector.UpToDate || len(report.Plan) > 0 {
			t.Errorf("after a copy-up the server is %q (%s), and %v are to be asked", got.Verdict, got.Detail, report.Plan)
		}
		unharmed(t, server)
		above := &scene{mustInstall(t, filepath.Join(c.root, lower.Dir())), t}
		above.upgraded(server)
		if server.Image() == before || server.Signals() != 1 {
			t.Errorf("after a real install the server runs %s, and got %d signals", server.Image(), server.Signals())
		}
	})
}

// imageAt is the file at a path.
func imageAt(t *testing.T, path string) selector.Image {
	t.Helper()
	var stat unix.Stat_t
	must(t, unix.Stat(path, &stat))
	return selector.Image{Dev: stat.Dev, Ino: stat.Ino}
}

// mustInstall installs this binary into a folder.
func mustInstall(t *testing.T, dir string) *testfleet.Install {
	t.Helper()
	i, err := testfleet.NewInstall(dir, thisBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestSelection_Given_OthersNotSignalled(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, c := range map[string]struct {
		args          []string
		alice, inside bool
	}{
		"a user":                   {[]string{"--user", "6001"}, true, false},
		"no containers":            {[]string{"--no-containers"}, true, false},
		"a container":              {[]string{"--container", "pid:"}, false, true},
		"a container that is none": {[]string{"--container", "0123"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				onlySelected(t, source, c.args, c.alice, c.inside)
			})
		})
	}
}

// onlySelected says whether the servers of alice, and those in a container, must be upgraded.
func onlySelected(t *testing.T, source string, args []string, wantAlice, wantInside bool) {
	t.Helper()
	h := newWholeHost(t)
	alice, box := h.home(6001), newContainer(t)
	boxed := box.install("/opt/agent")
	hers, inside := h.start(alice, 6001, 1), []*testfleet.Server{box.start(boxed, h.name)}
	alice.replace()
	boxed.replace()
	h.serve(source, args...)
	for _, side := range []struct {
		*scene
		servers []*testfleet.Server
		wanted  bool
	}{{alice, hers, wantAlice}, {boxed, inside, wantInside}} {
		if side.wanted {
			side.allUpgraded(side.servers)
			continue
		}
		eventually(t, "the server is told as not selected", func() bool {
			return h.status().Verdicts[selector.NotSelected] >= 1
		})
		allUnharmed(t, side.servers)
	}
}

// TestInstallPaths_Given_OthersNotServed: two of three.
func TestInstallPaths_Given_OthersNotServed(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		first, second, third := newScene(t), newScene(t), newScene(t)
		own := uint32(os.Getuid())
		ones, twos, threes := h.start(first, own, 2), h.start(second, own, 2), h.start(third, own, 2)
		h.serve(source, "--install-path", first.Path(), "--install-path", second.Path())
		h.knows(2)
		third.replace()
		first.replace()
		second.replace()
		first.allUpgraded(ones)
		second.allUpgraded(twos)
		eventually(t, "all others are told as of another install", func() bool {
			verdicts := h.status().Verdicts
			return verdicts[selector.UpToDate] == 4 && verdicts[selector.OtherInstall] == len(threes)
		})
		askedOnce(t, append(ones, twos...))
		allUnharmed(t, threes)
	})
}

// TestLock_InstallAndHost_Exclusive: two services would both signal.
func TestLock_InstallAndHost_Exclusive(t *testing.T) {
	t.Parallel()
	h := newWholeHost(t)
	s := newScene(t)
	servers := h.start(s, uint32(os.Getuid()), 1)
	h.serve("proc")
	h.knows(1)
	other := []string{"--install-path", s.Path(), "--name", h.name, "--run-dir", filepath.Dir(h.socket)}
	code, _, stderr := command(t, append([]string{"run", "--state-dir", t.TempDir()}, other...)...)
	if code != exitFailure || stderr == "" {
		t.Errorf("a second service ended with %d, %q, want it turned down", code, stderr)
	}
	s.replace()
	code, stdout, stderr := command(t, append([]string{"trigger"}, other[:2]...)...)
	_ = stdout
	if code != exitOK {
		t.Errorf("trigger ended with %d, %q, want it handed to the service", code, stderr)
	}
	s.allUpgraded(servers)
	askedOnce(t, servers)
}

// TestContainerService_BesideHosts_YieldsToIt: neither knows of the other. With the usual hold
// time the host asks all but the first after two seconds only.
func TestContainerService_BesideHosts_YieldsToIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, inside := range []string{"bpf", "proc"} {
		t.Run("inside "+inside, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				leavesItToTheHost(t, source, inside)
			})
		})
	}
}

func leavesItToTheHost(t *testing.T, source, inside string) {
	t.Helper()
	hold := rollout.DefaultLimits().Hold.String()
	h := newWholeHost(t)
	c := newContainer(t, "/sys", "/sys")
	install := c.install("/opt/agent")
	var servers []*testfleet.Server
	for range 3 {
		servers = append(servers, c.start(install, h.name, func(o *testfleet.Options) {
			o.Behaviour.Drain = testfleet.Duration(300 * time.Millisecond) // in which a second signal would come
		}))
	}
	h.serve(source, "--hold", hold)
	client := c.serve("--name", h.name, "--source", inside, "--hold", hold).client(t)
	status, err := client.Status(within(t))
	must(t, err)
	if status.PIDNamespace == daemon.HostNamespace || string(status.Source) != inside {
		t.Errorf("the service in the container serves %q from %q", status.PIDNamespace, status.Source)
	}
	h.knows(1)
	for range 2 {
		before := servers[0].Signals()
		install.replace()
		install.allUpgraded(servers)
		eventually(t, "the service in the container has seen it", func() bool {
			status, err := client.Status(within(t))
			return err == nil && status.Verdicts[selector.UpToDate] == len(servers) && isComplete(status.Rollouts)
		})
		for _, server := range servers {
			if n := server.Signals() - before; n != 1 {
				t.Errorf("server %d got %d signals for one install", server.PID(), n)
			}
		}
	}
}

func isComplete(rollouts []rollout.Report) bool {
	return len(rollouts) == 1 && rollouts[0].Phase == rollout.PhaseComplete
}

// TestContainerService_Alone_Upgrades where the host has none.
func TestContainerService_Alone_Upgrades(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		c := newContainer(t, "/sys", "/sys")
		install, outside := c.install("/opt/agent"), newScene(t)
		inside, host := []*testfleet.Server{c.start(install, h.name)}, h.start(outside, 0, 1)
		client := c.serve("--name", h.name, "--source", source).client(t)
		eventually(t, "it knows its install", func() bool {
			status, err := client.Status(within(t))
			return err == nil && countInstalls(status.Status) == 1
		})
		install.replace()
		outside.replace()
		install.allUpgraded(inside)
		askedOnce(t, inside)
		allUnharmed(t, host)
	})
}
