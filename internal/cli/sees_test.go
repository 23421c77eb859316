// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// rowOf is what a table says in the row of that name, with the blanks between its columns made one.
func rowOf(t *testing.T, table, name string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strings.Join(fields[1:], " ")
		}
	}
	t.Errorf("there is no row %q in\n%s", name, table)
	return ""
}

// TestStatus_Table_IsOne has what an operator looks for, each in a row of its own.
func TestStatus_Table_IsOne(t *testing.T) {
	t.Parallel()
	now := time.Now()
	image := selector.Image{Dev: 1, Ino: 2}
	place := selector.Install{Path: "/usr/bin/rag-rat", Image: image, State: selector.StateReady}
	status := control.Status{
		Info: control.Info{Version: "1.2", PID: 7, Started: now.Add(-3 * time.Second), PIDNamespace: daemon.HostNamespace, WatchesSignals: true},
		Status: api.Status{
			Source: api.SourceBPF, Learned: true, Paused: true,
			Verdicts: map[selector.Verdict]int{selector.Outdated: 2},
			Installs: []api.InstallStatus{{Install: place, UID: 4000000001, Servers: 2, Rollout: 5}},
			Rollouts: []rollout.Report{{
				Number: 5, Install: place, Started: now.Add(-time.Second), Phase: rollout.PhaseCanary,
				Servers: map[rollout.State]int{rollout.Pending: 1, rollout.Settling: 1},
				Unarmed: &rollout.Unarmed{PID: 9, Since: now.Add(-7 * time.Second), HaltsAt: now.Add(time.Minute)},
			}},
		},
		Tracker: &api.Tracker{Entries: 2, Capacity: 64},
	}
	var out bytes.Buffer
	v := view{isVerbose: true, names: newUserNames(), now: now}
	must(t, printStatus(&out, statusJSON{Status: status, Health: healthOf(status, v.names)}, v))
	for name, want := range map[string]string{
		"PAUSED:": "1 server behind",
		"waits": "/usr/bin/rag-rat: server 9 has run the new binary for 7.0 s and is not armed yet; if it is not by " +
			clock(now.Add(time.Minute), now) + ", the rollout halts",
		"service":          "process 7, version 1.2, up 3 s",
		"source":           "eBPF; the signals of other senders are seen",
		"serves":           "every install that a server names",
		"sees":             "the processes of the host",
		"servers":          "2 outdated",
		"paused":           "before this service started",
		"map":              "2 of 64 entries; 0 lost, 0 scans, audits found 0 missing and 0 extra",
		"/usr/bin/rag-rat": "uid 4000000001 2 - canary: 1 pending, 1 settling, begun 1 s ago",
	} {
		if got := rowOf(t, out.String(), name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestStatus_PIDNamespace_Shown by status and by doctor, on the host and in a container.
func TestStatus_PIDNamespace_Shown(t *testing.T) {
	t.Parallel()
	needRoot(t)
	h := newWholeHost(t)
	h.serve("proc")
	_ = h.client(t)
	c := newContainer(t, "/sys", "/sys")
	inside := c.serve("--name", h.name, "--source", "proc")
	_ = inside.client(t)
	namespace, err := os.Readlink("/proc/" + selector.PID(c.pid).String() + "/ns/pid")
	must(t, err)
	_, host, _ := command(t, "doctor", "-v")
	nested, _ := c.command("env", asProgram+"=1", thisBinary(t), "doctor").Output() // its code says whether BPF can be used
	for _, one := range []struct{ socket, sees, doctor, says string }{
		{h.socket, "the processes of the host", host, "the host's"},
		{inside.socket, "the processes of " + namespace + ", not the host", string(nested), "its own, " + namespace + ": serves what is visible in it, not the host"},
	} {
		if one.socket == h.socket && daemon.PIDNamespace() != daemon.HostNamespace {
			continue // these tests run in a container themselves
		}
		code, stdout, stderr := command(t, "status", "-v", "--socket", one.socket)
		if got := rowOf(t, stdout, "sees"); got != one.sees {
			t.Errorf("status (%d, %s) says %q, want %q", code, stderr, got, one.sees)
		}
		line := one.doctor[max(0, strings.Index(one.doctor, "pid namespace")):]
		line, _, _ = strings.Cut(line, "\n")
		if got := strings.Join(strings.Fields(line), " "); got != "pid namespace "+one.says {
			t.Errorf("doctor says %q, want %q", got, one.says)
		}
	}
}
