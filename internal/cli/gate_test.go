// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
	"ebpf-upgrader/tracker"
)

// gateHere reports whether this kernel takes the gate's program. CI sets REQUIRE_GATE where it is known to.
func gateHere(t *testing.T) bool {
	t.Helper()
	needRoot(t)
	probe, err := tracker.Open(t.Context(), tracker.Config{
		Pattern: selector.Pattern{Names: []string{"gate-probe"}, Subcommand: "mcp"}, Signal: unix.SIGUSR1,
		Seed: func(context.Context) ([]selector.PID, error) { return nil, nil },
	})
	must(t, err)
	defer func() { _ = probe.Close() }()
	_, err = probe.EnableGate()
	if err != nil && os.Getenv("REQUIRE_GATE") == "1" {
		t.Fatal(err)
	}
	return err == nil
}

// gateNames makes the servers of each test their own: a gate covers all of a name.
var gateNames atomic.Int32

func gateName() string { return fmt.Sprintf("gated-%d-%d", os.Getpid(), gateNames.Add(1)) }

// sibling is a shell that looks like a server, and signals when it is told to.
type sibling struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func newSibling(t *testing.T, name string) *sibling {
	t.Helper()
	cmd := exec.Command("/bin/sh")
	cmd.Args = []string{name, "-c", `trap "" USR1; echo up; while read -r pid; do kill -USR1 "$pid" 2>/dev/null; echo $?; done`, "mcp"}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &sibling{t, cmd, in, bufio.NewReader(out)}
	if said := s.line(); said != "up" {
		t.Fatalf("the shell says %q", said)
	}
	return s
}

func (s *sibling) line() string {
	s.t.Helper()
	said, err := s.out.ReadString('\n')
	must(s.t, err)
	return strings.TrimSpace(said)
}

// refused has it signal another one.
func (s *sibling) refused(target *sibling) bool {
	s.t.Helper()
	_, err := fmt.Fprintln(s.in, target.cmd.Process.Pid)
	must(s.t, err)
	return s.line() != "0"
}

func (s *sibling) pid() selector.PID { return selector.PID(s.cmd.Process.Pid) }

func TestGateFlag_WrongValue_IsUsageError(t *testing.T) {
	t.Parallel()
	code, _, stderr := command(t, "run", "--gate", "maybe")
	if code != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "auto, on, off") {
		t.Errorf("exit code %d, %q, want %d and a line that lists the three", code, stderr, exitUsage)
	}
}

// TestGateFlag_On_FailsWhereRefused: by the kernel, or for want of the tracker.
func TestGateFlag_On_FailsWhereRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	sources := []string{"proc"}
	if !gateHere(t) {
		sources = append(sources, "bpf")
	}
	for _, source := range sources {
		args := append(newService(t).args(s.Path(), source), "--gate", "on")
		code, _, stderr := command(t, args...)
		said := lastLine(stderr)
		if code != exitNoSource || !strings.Contains(said, "--gate on: the gate cannot be used: ") {
			t.Errorf("--source %s: exit code %d, %q, want %d and the reason", source, code, said, exitNoSource)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// TestGateService_Siblings_RefusedAndTold: in status, metrics and log; or why there is no gate.
func TestGateService_Siblings_RefusedAndTold(t *testing.T) {
	t.Parallel()
	closed := gateHere(t)
	s, name := newScene(t), gateName()
	service := s.serve("bpf", "--name", name)
	c := service.client(t)
	a, b := newSibling(t, name), newSibling(t, name)
	told := followRefusals(t, c)
	if got := a.refused(b); got != closed {
		t.Errorf("a signal of one server to another is refused: %t, want %t", got, closed)
	}
	if closed {
		newSibling(t, name) // which is inspected
		told(a, b)
	}
	requireExplained(t, service.socket, a.pid(), closed)
	g := s.status(c).Gate
	table, metrics := statusTable(t, service.socket), service.get(t, "/metrics")
	if !closed {
		if g.Active || g.Latest == nil || !strings.Contains(g.Reason, "fmod_ret: ") || !strings.Contains(service.messages.String(), "no gate") ||
			!strings.Contains(rowOf(t, table, "gate"), "none (") || !strings.Contains(metrics, "ebpf_upgrader_gate_active 0\n") {
			t.Errorf("without a gate: %+v\n%s\n%s", g, table, service.messages)
		}
		return
	}
	if !g.Active || g.Refused != 1 || len(g.Latest) != 1 || g.Latest[0].Sender != a.pid() || g.Latest[0].Target != b.pid() {
		t.Errorf("the gate is %+v, want one refusal from %d to %d", g, a.pid(), b.pid())
	}
	if row := rowOf(t, table, "gate"); !strings.Contains(row, fmt.Sprintf("1 of the servers' own signals refused, the last from %d to %d", a.pid(), b.pid())) {
		t.Errorf("status says %q", row)
	}
	for _, want := range []string{"ebpf_upgrader_gate_active 1\n", "ebpf_upgrader_gate_refused_total 1\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	if _, events, _ := command(t, "events", "--socket", service.socket); !strings.Contains(events, fmt.Sprintf("gate: 1 signals of %d to %d refused\n", a.pid(), b.pid())) {
		t.Errorf("the events lack the refusal:\n%s", events)
	}
	if !strings.Contains(service.messages.String(), "gate active") {
		t.Errorf("nothing is logged:\n%s", service.messages)
	}
	service.stop()
	if a.refused(b) {
		t.Error("the gate outlives the service")
	}
}

// requireExplained wants explain to say where a process stands, and of one that is no server that it is outside.
func requireExplained(t *testing.T, socket string, pid selector.PID, closed bool) {
	t.Helper()
	for pid, behind := range map[selector.PID]bool{pid: true, selector.PID(os.Getpid()): false} {
		code, stdout, stderr := command(t, "explain", "--socket", socket, pid.String())
		if code != exitOK || strings.Contains(stdout, "refused by the service's gate") != (closed && behind) ||
			strings.Contains(stdout, "outside of the service's gate") != (closed && !behind) {
			t.Errorf("explain %d: exit code %d, behind the gate: %t\n%s%s", pid, code, behind, stdout, stderr)
		}
	}
}

func TestGateFlag_Off_LetsPass(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s, name := newScene(t), gateName()
	c := s.serve("bpf", "--gate", "off", "--name", name).client(t)
	a, b := newSibling(t, name), newSibling(t, name)
	if g := s.status(c).Gate; a.refused(b) || g.Active || !strings.Contains(g.Reason, "--gate off") {
		t.Errorf("--gate off, and the gate is %+v", g)
	}
}

// TestGateService_NotServed_Passes: their own trigger is all that upgrades those.
func TestGateService_NotServed_Passes(t *testing.T) {
	t.Parallel()
	if !gateHere(t) {
		return // TestGateService_Siblings_RefusedAndTold has what is to be seen there
	}
	s, name := newScene(t), gateName()
	s.serve("bpf", "--user", "65534", "--name", name).client(t)
	a, b := newSibling(t, name), newSibling(t, name)
	eventually(t, "the servers of another user are taken out of the gate", func() bool { return !a.refused(b) })
}

// TestGateService_Stop_FiresTriggers: once for servers that would have had their turn, and never for those that a death
// or an operator keeps from it. Without a gate nothing was refused.
func TestGateService_Stop_FiresTriggers(t *testing.T) {
	t.Parallel()
	closed := gateHere(t)
	for name, c := range map[string]struct {
		servers testfleet.Behaviour
		pause   bool
		phase   rollout.Phase
		opens   int
		says    string
	}{
		"outdated": {testfleet.Behaviour{Ignore: true}, false, rollout.PhaseCanary, 1, ""},
		"paused":   {testfleet.Behaviour{Ignore: true}, true, rollout.PhaseCanary, 0, `"paused":2`},
		"halted":   {testfleet.Behaviour{Later: &testfleet.Behaviour{End: &testfleet.End{Code: 1}}}, false, rollout.PhaseHalted, 0, `"halted":1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, name := newScene(t), gateName()
			s.startFleet(2, func(o *testfleet.Options) { o.Argv0, o.Behaviour = name, c.servers })
			service := s.serve("bpf", "--canary-timeout", "1m", "--hold", "20s", "--name", name)
			client := service.client(t)
			s.replace()
			s.phase(client, c.phase)
			if c.phase == rollout.PhaseCanary {
				eventually(t, "the canary is signalled", func() bool { return signalled(t, client) })
			}
			if c.pause {
				must(t, client.Pause(within(t)))
			}
			count := opens(t, s.Path())
			service.stop()
			want := 0
			if closed {
				want = c.opens
			}
			if got := count(); got != want {
				t.Errorf("the installed file was opened %d times at the stop, want %d\n%s", got, want, service.messages)
			}
			if closed && !strings.Contains(service.messages.String(), c.says) {
				t.Errorf("the log lacks %q:\n%s", c.says, service.messages)
			}
		})
	}
}

// signalled reports whether a server of the only rollout has been.
func signalled(t *testing.T, c *control.Client) bool {
	t.Helper()
	servers, err := c.Servers(within(t))
	must(t, err)
	return slices.ContainsFunc(servers, func(s api.ServerStatus) bool { return s.Rollout != nil && s.Rollout.Attempts > 0 })
}

// TestFullMap_ServerBeyond_WaitsForOthers: another sender's signal to it is not seen.
func TestFullMap_ServerBeyond_WaitsForOthers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s, name := newScene(t), gateName()
	fleet := s.startFleet(2, func(o *testfleet.Options) { o.Argv0 = name })
	service := s.serve("bpf", "--name", name, "--max-entries", "1", "--confirm-timeout", "3s", "--retry-after", "6s", "--canary", "0")
	client := service.client(t)
	begin := time.Now()
	s.replace()
	for _, server := range fleet {
		s.upgraded(server)
	}
	if took := time.Since(begin); took < 5*time.Second {
		t.Errorf("both were signalled within %s, though the map has room for one", took)
	}
	if got := service.messages.String(); !strings.Contains(got, deliver.ErrUntracked.Error()) {
		t.Errorf("the log lacks %q:\n%s", deliver.ErrUntracked, got)
	}
	if outside := s.status(client).Tracker.Outside; outside < 1 {
		t.Errorf("status says that %d are outside of the map", outside)
	}
}
