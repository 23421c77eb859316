// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"net"
	"strings"
	"testing"
)

func TestPaths_OfSystemd_AreDefaults(t *testing.T) {
	for _, c := range []struct{ runtime, state, wantRun, wantState string }{
		{"/run/ebpf-upgrader", "/var/lib/ebpf-upgrader", "/run/ebpf-upgrader", "/var/lib/ebpf-upgrader"},
		{"/run/other:/run/ebpf-upgrader-ana", "/var/lib/other:/srv/ebpf-upgrader-ana", "/run/ebpf-upgrader-ana", "/srv/ebpf-upgrader-ana"},
		{"/run/other", "/var/lib/other", "/run/ebpf-upgrader", "/var/lib/ebpf-upgrader"}, // of the unit that this was started from
		{"ebpf-upgrader", "ebpf-upgrader", "/run/ebpf-upgrader", "/var/lib/ebpf-upgrader"},
	} {
		needRoot(t) // which has other defaults
		t.Setenv("RUNTIME_DIRECTORY", c.runtime)
		t.Setenv("STATE_DIRECTORY", c.state)
		o := &options{}
		state, err := o.statePath()
		if err != nil || o.runPath() != c.wantRun || state != c.wantState {
			t.Errorf("with %q and %q: %q and %q, %v, want %q and %q", c.runtime, c.state, o.runPath(), state, err, c.wantRun, c.wantState)
		}
		given := &options{runDir: "/a", stateDir: "/b"}
		if state, _ := given.statePath(); given.runPath() != "/a" || state != "/b" {
			t.Errorf("what was given is %q and %q, want /a and /b", given.runPath(), state)
		}
	}
}

func TestMetricsListen_PortBusy_IsNamed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = busy.Close() }()
	address := busy.Addr().String()
	code, _, stderr := command(t, append(newService(t).args(s.Path(), "proc"), "--metrics-listen", address)...)
	want := "ebpf-upgrader: --metrics-listen " + address + ": listen tcp " + address + ": bind: address already in use\n"
	if code != exitFailure || !strings.HasSuffix(stderr, want) {
		t.Errorf("exit code %d and %q, want %d and %q", code, stderr, exitFailure, want)
	}
}
