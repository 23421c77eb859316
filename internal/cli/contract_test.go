// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestSources_SameServers_SameVerdicts compares the tracker with the scan over servers with every
// fault, while processes come and go beside them.
func TestSources_SameServers_SameVerdicts(t *testing.T) {
	needRoot(t)
	s := newScene(t)
	missing := "/nowhere/rag-rat"
	var mine []selector.PID
	for _, change := range []func(*testfleet.Options){
		nil,
		func(o *testfleet.Options) { o.Behaviour.NeverArm = true },
		func(o *testfleet.Options) { o.UpgradeBin = nil },
		func(o *testfleet.Options) { o.UpgradeBin = &missing },
		func(o *testfleet.Options) { o.Behaviour.LeaderExits = true },
		func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: 4321, GID: 4321} },
		func(o *testfleet.Options) { o.Args = []string{strings.Repeat("x", 20000)} },
		func(o *testfleet.Options) { o.Argv0 = s.Path() + "/." },
	} {
		mine = append(mine, s.start(change).PID())
	}
	stop := churn(t)
	defer stop()
	s.replace()
	for range 10 {
		bpf := only(s.report(exitOK, "list", "bpf"), mine)
		proc := only(s.report(exitOK, "list", "proc"), mine)
		if len(bpf) != len(mine) {
			t.Fatalf("the tracker knows %d of %d servers", len(bpf), len(mine))
		}
		if diff := cmp.Diff(proc, bpf, cmp.AllowUnexported(api.Server{}), ignoreAge); diff != "" {
			t.Fatalf("the sources differ (-proc +bpf):\n%s", diff)
		}
	}
}

var ignoreAge = cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".age" }, cmp.Ignore())

func only(r api.Report, pids []selector.PID) []api.Server {
	return r.Only(func(s api.Server) bool { return slices.Contains(pids, s.PID) }).Servers
}

// churn starts and ends processes until it is stopped: some with the servers' name, some not.
func churn(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, name := range []string{"rag-rat", "sleep"} {
		wg.Go(func() {
			for ctx.Err() == nil {
				cmd := exec.CommandContext(ctx, "sleep", "0.01")
				cmd.Args[0] = name
				_ = cmd.Run() // its end is all that matters
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// Right after a server was pinned, its PID goes to another outdated server with a handler. That server must not get the
// signal of the first, although it would be signalled itself.
func TestSignal_PIDUsedAgain_NotSent(t *testing.T) {
	const name = "TestSignal_PIDUsedAgain_NotSent"
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		needRoot(t)
		inPIDNamespace(t, name)
		return
	}
	s := newScene(t)
	first := s.start(nil)
	s.replace()
	a := &app{opts: options{source: "proc", names: []string{"rag-rat"}, subcommand: "mcp", variable: "RAG_RAT_UPGRADE_BIN", signal: "SIGUSR1"}}
	cfg, err := a.config()
	must(t, err)
	h, err := daemon.OpenProc(cfg)
	must(t, err)
	defer h.Close()
	var second *testfleet.Server
	u := deliver.New(deliver.Config{
		Rule: cfg.Rule, Signal: cfg.Signal, Inspector: h,
		Pin: func(pid selector.PID) (deliver.Target, error) {
			target, err := daemon.Pin(pid)
			_ = first.Stop()
			second = startWithNumber(s, pid)
			return target, err
		},
	})
	with := deliver.One{Install: install.NewChecker().Check(install.RootedPath{Path: s.Path()})}
	planned := u.Inspect(first.PID(), with)
	if d := u.Deliver(planned.Process.Identity, with); planned.Decision.Verdict != selector.Outdated || d.IsSent {
		t.Errorf("%d is %s, and a signal was sent: %t; want %s and none", first.PID(), planned.Decision.Verdict, d.IsSent, selector.Outdated)
	}
	unharmed(t, second)
}

// startWithNumber starts servers from the old file until one has the number pid.
func startWithNumber(s *scene, pid selector.PID) *testfleet.Server {
	s.t.Helper()
	for range 1000 {
		last := (pid - 1).String()
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(last), 0); err != nil {
			s.t.Fatal(err)
		}
		server := s.start(func(o *testfleet.Options) { o.Binary = thisBinary(s.t) })
		if server.PID() == pid {
			return server
		}
		_ = server.Stop()
	}
	s.t.Fatalf("number %d was not used again in 1000 starts", pid)
	return nil
}

// inPIDNamespace runs one test of this binary in a PID namespace with its own /proc.
func inPIDNamespace(t *testing.T, name string) {
	t.Helper()
	inNamespaces(t, name, "mount -t proc proc /proc", unix.CLONE_NEWPID)
}

// inNamespaces runs one test of this binary with a /run of its own, in a mount namespace and whatever else
// flags say, which prepare makes ready.
func inNamespaces(t *testing.T, name, prepare string, flags uintptr, env ...string) {
	t.Helper()
	script := prepare + ` && mount -t tmpfs -o mode=755 tmpfs /run && exec "$0" "$@"`
	cmd := exec.Command("sh", "-c", script, thisBinary(t), "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "IN_PID_NAMESPACE=1"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags | unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("in its own namespaces: %v\n%s", err, out)
	}
}
