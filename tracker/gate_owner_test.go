// SPDX-License-Identifier: MIT

//go:build linux

package tracker_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"ebpf-upgrader/tracker"
)

// gateOwner is the variable with the servers' name, for the copy of this binary that owns the gate.
const gateOwner = "TRACKER_TEST_GATE_OWNER"

// When the owner of a gate is killed, the kernel must remove the gate.
func TestGate_OwnerKilled_Passes(t *testing.T) {
	t.Parallel()
	if name := os.Getenv(gateOwner); name != "" {
		ownGate(t, name)
		return
	}
	s := newScene(t, nil)
	a, b := s.candidate(), s.candidate()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(self, "-test.run=^TestGate_OwnerKilled_Passes$")
	owner.Env = append(os.Environ(), gateOwner+"="+s.name)
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	closed := line == "gate closed\n"
	if !closed && line != "no gate\n" || err != nil {
		t.Errorf("the owner printed %q, %v", line, err)
	}
	s.wantGate(a, syscall.SIGUSR1, b.pid(), closed)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	s.wantGate(a, syscall.SIGUSR1, b.pid(), false)
}

// ownGate holds a gate until the process is killed.
func ownGate(t *testing.T, name string) {
	_, g := newGate(t, func(s *scene, c *tracker.Config) {
		s.name, c.Pattern.Names = name, []string{name}
		c.Seed = s.scanFor(c.Pattern)
	})
	if g == nil {
		fmt.Println("no gate")
	} else {
		fmt.Println("gate closed")
	}
	select {}
}
