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

// gateOwner is the name that the servers have of whom a copy of this binary owns the gate.
const gateOwner = "TRACKER_TEST_GATE_OWNER"

// TestGate_OwnerKilled_Passes: nothing may be left of a gate whose owner is killed.
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
	said, err := bufio.NewReader(out).ReadString('\n')
	closed := said == "gate closed\n"
	if !closed && said != "no gate\n" || err != nil {
		t.Errorf("the owner says %q, %v", said, err)
	}
	s.wantGate(a, syscall.SIGUSR1, b.pid(), closed)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	s.wantGate(a, syscall.SIGUSR1, b.pid(), false)
}

// ownGate holds a gate until it is killed.
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
