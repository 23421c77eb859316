// SPDX-License-Identifier: MIT

//go:build linux

package witness_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

func open(t *testing.T) *witness.Witness {
	t.Helper()
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
	return w
}

func TestWitness_Death_HasSenderAndTarget(t *testing.T) {
	w := open(t)
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

// A process execs at a signal that it catches, and dies of a second one, which the new image does not catch.
func TestWitness_Exec_FollowsCaughtSignal(t *testing.T) {
	w := open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", `trap "exec cat" USR1; echo armed; while read line; do :; done`)
	stdin, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	awaits := func(want string) {
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("read %q: %v, want %q", got, err, want)
		}
	}
	signals := func() {
		if err := shell.Process.Signal(unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	awaits("armed\n")
	signals()
	// The shell may be about to read when the signal arrives. Then it execs after the first line.
	if _, err := stdin.Write([]byte("meow\nmeow\n")); err != nil {
		t.Fatal(err)
	}
	awaits("meow\n")
	signals()
	_ = shell.Wait()
	records, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, r := range records {
		if int(r.Process) != shell.Process.Pid {
			continue
		}
		switch r.Kind {
		case witness.Execed:
			seen = append(seen, "exec")
		case witness.Signalled:
			seen = append(seen, fmt.Sprintf("signal %t %t", r.Delivered(), r.Caught()))
		case witness.Ended:
			seen = append(seen, "end")
		}
	}
	want := []string{"exec", "signal true true", "exec", "signal true false", "end"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
