// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

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
