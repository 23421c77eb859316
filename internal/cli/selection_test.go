// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

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
		for _, i := range h.status().Installs {
			if i.Servers != 2 {
				t.Errorf("%s has %d servers, want 2", i.Path, i.Servers)
			}
		}
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
