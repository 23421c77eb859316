// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestHang_AfterOthersSignals_HaltsWithSender: another sender leads three servers into a binary that hangs, before the service
// signals any. Only the tracker tells the sender.
func TestHang_AfterOthersSignals_HaltsWithSender(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	led, rest := s.startFleet(3, nil), s.startFleet(3, nil)
	c := s.serve("bpf", "--gate", "off", "--settle", "3s", "--arm-timeout", "5s").client(t)
	eventually(t, "the install is ready", func() bool {
		i := s.status(c).Installs
		return len(i) == 1 && i[0].State == selector.StateReady
	})
	must(t, s.ReplaceHanging())
	sender := exec.Command("kill", "-USR1", led[0].PID().String(), led[1].PID().String(), led[2].PID().String())
	must(t, sender.Run())
	eventually(t, "the servers run the installed file", func() bool { return s.running(led) == len(led) })
	want := "are not armed after 5s: 3"
	var r rollout.Report
	eventually(t, "the rollout is halted", func() bool {
		r = onlyRollout(s.status(c))
		return len(r.Halts) == 1 && strings.Contains(r.Halts[0].Reason, want)
	})
	by := fmt.Sprintf("process %d, ", sender.Process.Pid)
	if !strings.Contains(r.Halts[0].Reason, by) {
		t.Errorf("the halts are %+v, want one that says %q", r.Halts, by)
	}
	if r.Phase != rollout.PhaseHalted || r.Servers[rollout.Pending] != len(rest) {
		t.Errorf("the rollout is %+v, want it halted before the service signalled any", r)
	}
	allUnharmed(t, rest)
}
