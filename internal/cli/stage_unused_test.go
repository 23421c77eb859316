// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

// counting is the program, built so that it counts the lines of the packages for staged files and fleets that run.
type counting struct{ program, dir string }

func buildCounted(t *testing.T) counting {
	t.Helper()
	dir := t.TempDir()
	c := counting{program: filepath.Join(dir, "ebpf-upgrader"), dir: filepath.Join(dir, "counts")}
	const packages = "ebpf-upgrader/cmd/ebpf-upgrader,ebpf-upgrader/internal/stage,ebpf-upgrader/internal/launch," +
		"ebpf-upgrader/internal/fleet,ebpf-upgrader/internal/fleet/host,ebpf-upgrader/internal/fleet/record," +
		"ebpf-upgrader/internal/fleet/web,ebpf-upgrader/internal/fleet/etcd,ebpf-upgrader/internal/fleet/kube"
	out, err := exec.Command("go", "build", "-cover", "-coverpkg="+packages, "-o", c.program, "../../cmd/ebpf-upgrader").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return c
}

// serve runs a service, lets work happen, ends the service, and returns the packages of which no line ran.
func (c counting) serve(t *testing.T, args []string, work func(pid int)) (unused []string) {
	t.Helper()
	must(t, os.RemoveAll(c.dir))
	must(t, os.Mkdir(c.dir, 0o755))
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+c.dir)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	work(cmd.Process.Pid)
	must(t, cmd.Process.Signal(syscall.SIGINT))
	must(t, cmd.Wait())
	text, err := exec.Command("go", "tool", "covdata", "percent", "-i="+c.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		if name, isUnused := strings.CutSuffix(strings.TrimSpace(line), "coverage: 0.0% of statements"); isUnused {
			unused = append(unused, filepath.Base(strings.TrimSpace(name)))
		}
	}
	slices.Sort(unused)
	return unused
}

// TestStage_NotAsked_RunsNoLineOfIt runs a service without --stage that upgrades a server. A connection and a timer to an engine
// need a line of these packages.
func TestStage_NotAsked_RunsNoLineOfIt(t *testing.T) {
	takesLong(t)
	t.Parallel()
	s, p := newScene(t), newService(t)
	server := s.start(nil)
	t.Cleanup(func() { removeJournal(s.Path()) })
	unused := buildCounted(t).serve(t, p.args(s.Path(), "proc"), func(int) {
		p.client(t)
		s.replace()
		s.upgraded(server)
	})
	if want := []string{"etcd", "fleet", "host", "kube", "launch", "record", "stage", "web"}; !slices.Equal(unused, want) {
		t.Errorf("unused are %v, want %v", unused, want)
	}
}

// TestStage_NoFleet_OpensNothing runs a service with --stage and without --fleet that puts a file in place: no line of a fleet
// runs, and no socket of the service is one of the network.
func TestStage_NoFleet_OpensNothing(t *testing.T) {
	takesLong(t)
	needRoot(t)
	t.Parallel()
	s, p := newScene(t), newService(t)
	server := s.start(nil)
	t.Cleanup(func() { removeJournal(s.Path()) })
	unused := buildCounted(t).serve(t, append(p.args(s.Path(), "proc"), "--stage", s.Path()), func(pid int) {
		c := p.client(t)
		s.stageGood()
		s.staged(c, "is checked", func(s api.Staged) bool { return s.State == string(stage.Wanted) && s.Preflight != nil })
		_, err := c.Activate(within(t), control.StageRequest{InstallPath: s.Path(), Bake: new(rollout.Seconds(time.Millisecond))})
		must(t, err)
		s.upgraded(server)
		s.staged(c, "is proven", in(stage.Proven))
		if all := networkSockets(t, pid); len(all) > 0 {
			t.Errorf("sockets: %v", all)
		}
	})
	if want := []string{"etcd", "fleet", "host", "kube", "record", "web"}; !slices.Equal(unused, want) {
		t.Errorf("unused are %v, want %v", unused, want)
	}
}

// networkSockets returns the sockets that a process has open and that are none of the unix family, by their links.
func networkSockets(t *testing.T, pid int) (all []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", pid)
	local, err := os.ReadFile(dir + "/net/unix")
	must(t, err)
	fds, err := filepath.Glob(dir + "/fd/*")
	must(t, err)
	known := 0
	for _, fd := range fds {
		link, _ := os.Readlink(fd) // one that is closed by now is none
		inode, isSocket := strings.CutPrefix(link, "socket:[")
		switch {
		case !isSocket:
		case strings.Contains(string(local), " "+strings.TrimSuffix(inode, "]")):
			known++
		default:
			all = append(all, link)
		}
	}
	if known == 0 {
		t.Error("the control socket is not among the sockets")
	}
	return all
}
