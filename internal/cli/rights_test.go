// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unprivileged is a user that owns nothing here.
const unprivileged = 65534

// sufficient are the capabilities that do all of the work.
var sufficient = map[string]uintptr{
	"CAP_BPF": unix.CAP_BPF, "CAP_PERFMON": unix.CAP_PERFMON, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE,
	"CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "CAP_KILL": unix.CAP_KILL,
}

// limited is the program as a process of the user unprivileged, with some of the sufficient capabilities and no others.
func limited(t *testing.T, without []string, args ...string) *exec.Cmd {
	t.Helper()
	needRoot(t)
	var ambient []uintptr
	for name, value := range sufficient {
		if !slices.Contains(without, name) {
			ambient = append(ambient, value)
		}
	}
	cmd := exec.Command(newProgram(t), args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}, AmbientCaps: ambient,
	}
	return cmd
}

// examined are the lines of the doctor that are not well.
func examined(t *testing.T, without ...string) (code int, bad []string) {
	t.Helper()
	cmd := limited(t, without, "doctor", "-o", "json", "--state-dir", "/tmp")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var report struct {
		Checks []finding `json:"checks"`
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("doctor wrote %q, %q: %v", out, stderr.String(), err)
	}
	for _, f := range report.Checks {
		if !f.OK && f.Do == "" {
			t.Errorf("%s: %q says nothing that could be done", f.Check, f.Found)
		}
		if !f.OK && !f.IsNote && f.Check != "gate" { // which depends on the kernel
			bad = append(bad, f.Check)
		}
	}
	return cmd.ProcessState.ExitCode(), bad
}

// TestDoctor_CapabilityMissing_Named, and finds nothing wrong with exactly those that suffice.
func TestDoctor_CapabilityMissing_Named(t *testing.T) {
	t.Parallel()
	if code, bad := examined(t); code != exitOK || len(bad) > 0 {
		t.Errorf("with all that are needed: exit code %d, %v", code, bad)
	}
	all := make([]string, 0, len(sufficient))
	for name := range sufficient {
		all = append(all, name)
		want, wantCode := []string{name}, exitOK
		if name == "CAP_BPF" || name == "CAP_PERFMON" {
			want, wantCode = append(want, "tracker"), exitNoSource
		}
		if code, bad := examined(t, name); code != wantCode || !slices.Equal(bad, want) {
			t.Errorf("without %s: exit code %d, %v; want %d, %v", name, code, bad, wantCode, want)
		}
	}
	if code, bad := examined(t, all...); code != exitNoSource || len(bad) > 0 { // a user can do without

		t.Errorf("without any: exit code %d, %v", code, bad)
	}
}

// A service of a user other than root upgrades the servers of two users. By then it has given up what only the loading of
// the tracker needs.
func TestService_SufficientCapabilities_Upgrades(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		alice, bob := h.home(6001), h.home(6002)
		hers, his := h.start(alice, 6001, 2), h.start(bob, 6002, 2)
		if err := os.Chown(filepath.Dir(h.socket), unprivileged, unprivileged); err != nil {
			t.Fatal(err)
		}
		without := []string{}
		if source == "proc" {
			without = append(without, "CAP_BPF", "CAP_PERFMON")
		}
		cmd := limited(t, without, h.args(source)...)
		messages := &syncBuffer{}
		cmd.Stderr = messages
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Log(messages)
			}
		})
		h.knows(2)
		requireRights(t, cmd.Process.Pid, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_KILL)
		if got := h.status().Gate; source == "bpf" && got.Active != gateHere(t) {
			t.Errorf("the gate is %+v", got)
		}
		alice.replace()
		bob.replace()
		alice.allUpgraded(hers)
		bob.allUpgraded(his)
		askedOnce(t, append(hers, his...))
	})
}

// requireRights looks at every thread of a process.
func requireRights(t *testing.T, pid int, capabilities ...int) {
	t.Helper()
	var set uint64
	for _, c := range capabilities {
		set |= 1 << c
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // has ended
		}
		for _, want := range []string{"CapEff", "CapPrm"} {
			if line := fmt.Sprintf("%s:\t%016x\n", want, set); !strings.Contains(string(status), line) {
				t.Errorf("%s lacks %q:\n%s", thread, line, status)
			}
		}
		for _, line := range []string{"CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(string(status), line) {
				t.Errorf("%s lacks %q:\n%s", thread, line, status)
			}
		}
	}
}
