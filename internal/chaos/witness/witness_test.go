// SPDX-License-Identifier: MIT

//go:build linux

package witness_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/chaos/witness"
)

// TestTheWitnessSeesWhoKillsWhom has a process die of SIGUSR1, and another end by itself.
func TestTheWitnessSeesWhoKillsWhom(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("REQUIRE_BPF") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	w, err := witness.Open()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	before := witness.Now()
	if err := victim.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	after := witness.Now()
	other := exec.Command("sh", "-c", "exit 7")
	_ = other.Run()
	records, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var signals, ends []witness.Record
	for _, r := range records {
		switch {
		case r.Kind == witness.Signalled && int(r.Process) == victim.Process.Pid:
			signals = append(signals, r)
		case r.Kind == witness.Ended && int(r.Process) == victim.Process.Pid:
			ends = append(ends, r)
		case r.Kind == witness.Ended && int(r.Process) == other.Process.Pid && r.Status().ExitStatus() != 7:
			t.Errorf("the other ended with %d, want 7", r.Status())
		}
	}
	if len(signals) != 1 || int(signals[0].Sender) != os.Getpid() || signals[0].Disposition() != witness.Default ||
		signals[0].At < before || signals[0].At > after {
		t.Errorf("signals to %d by %d: %+v", victim.Process.Pid, os.Getpid(), signals)
	}
	if len(ends) != 1 || !ends[0].Status().Signaled() || ends[0].Status().Signal() != syscall.SIGUSR1 ||
		len(signals) == 1 && ends[0].Start != signals[0].Start {
		t.Errorf("ends of %d: %+v", victim.Process.Pid, ends)
	}
}
