// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStage_NotAsked_RunsNoLineOfIt runs a service without --stage that upgrades a server, built so that it counts the lines
// of the packages for staged files and fleets that run. A connection and a timer to an engine need such a line.
func TestStage_NotAsked_RunsNoLineOfIt(t *testing.T) {
	takesLong(t)
	dir := t.TempDir()
	program, counts := filepath.Join(dir, "ebpf-upgrader"), filepath.Join(dir, "counts")
	const packages = "ebpf-upgrader/cmd/ebpf-upgrader,ebpf-upgrader/internal/stage,ebpf-upgrader/internal/launch," +
		"ebpf-upgrader/internal/fleet,ebpf-upgrader/internal/fleet/host,ebpf-upgrader/internal/fleet/record," +
		"ebpf-upgrader/internal/fleet/web,ebpf-upgrader/internal/fleet/etcd,ebpf-upgrader/internal/fleet/kube"
	out, err := exec.Command("go", "build", "-cover", "-coverpkg="+packages, "-o", program, "../../cmd/ebpf-upgrader").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.Mkdir(counts, 0o755); err != nil {
		t.Fatal(err)
	}
	s, p := newScene(t), newService(t)
	server := s.start(nil)
	t.Cleanup(func() { removeJournal(s.Path()) })
	cmd := exec.Command(program, p.args(s.Path(), "proc")...)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+counts)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p.client(t)
	s.replace()
	s.upgraded(server)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("go", "tool", "covdata", "percent", "-i="+counts).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if strings.Count(string(text), "coverage: 0.0% of statements") != 8 {
		t.Errorf("lines were run:\n%s", text)
	}
}
