// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/launch"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// asProgram makes the test binary be the program itself, for tests that need it as a process.
const asProgram = "EBPF_UPGRADER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	testfleet.Main()
	runScriptProgram()
	if os.Getenv(asProgram) != "" || slices.Contains(os.Args[1:], launch.Argument) {
		_ = os.Unsetenv(asProgram)
		os.Exit(Main())
	}
	code := m.Run()
	if builtHere != "" {
		_ = os.RemoveAll(builtHere)
	}
	os.Exit(code)
}

// patience is how long a test waits for what must happen. It is long because the machine may be
// busy; a test that passes does not wait for it.
const patience = 3 * time.Minute

// needRoot is for what only root can set up. CI runs as root, where it must not be skipped.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// takesLong skips a test of many processes or of seconds where only the short ones are wanted: go test -short.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// withEachSource runs a test once with the kernel's tracker and once with the scan.
func withEachSource(t *testing.T, test func(t *testing.T, source string)) {
	t.Helper()
	t.Run("bpf", func(t *testing.T) {
		needRoot(t)
		test(t, "bpf")
	})
	t.Run("proc", func(t *testing.T) { test(t, "proc") })
}

// scene is an install with real servers.
type scene struct {
	*testfleet.Install
	t *testing.T
}

func newScene(t *testing.T) *scene {
	t.Helper()
	// Not t.TempDir: only the owner may enter its parent, and some servers belong to other users.
	dir, err := os.MkdirTemp("", "ebpf-upgrader-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return sceneIn(t, dir)
}

func sceneIn(t *testing.T, dir string) *scene {
	t.Helper()
	install, err := testfleet.NewInstall(dir, serverBinary())
	if err != nil {
		t.Fatal(err)
	}
	return &scene{install, t}
}

func thisBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// start starts an armed server of this install and waits until it is armed, if it ever will be.
func (s *scene) start(change func(*testfleet.Options)) *testfleet.Server {
	s.t.Helper()
	path := s.Path()
	options := testfleet.Options{Binary: path, UpgradeBin: &path}
	if change != nil {
		change(&options)
	}
	server, err := testfleet.Start(within(s.t), options)
	if err != nil {
		s.t.Fatalf("start a server: %v", err)
	}
	s.t.Cleanup(func() { _ = server.Stop() })
	await := server.AwaitArmed
	if options.Behaviour.NeverArm || options.UpgradeBin == nil || *options.UpgradeBin == "" {
		await = server.AwaitGeneration
	}
	if err := await(within(s.t), 0); err != nil {
		s.t.Fatalf("server %d did not come up: %v", server.PID(), err)
	}
	return server
}

// replace installs a new binary by rename.
func (s *scene) replace() {
	s.t.Helper()
	if err := s.Replace(serverBinary()); err != nil {
		s.t.Fatal(err)
	}
}

// command runs the program in this process, and answers with its exit code and what it wrote.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, messages bytes.Buffer
	code = run(within(t), args, &out, &messages)
	return code, out.String(), messages.String()
}

// report runs a command that answers with a report, and takes it apart.
func (s *scene) report(wantCode int, name, source string, args ...string) api.Report {
	s.t.Helper()
	all := append([]string{name, "--install-path", s.Path(), "--source", source, "-o", "json"}, args...)
	code, stdout, stderr := command(s.t, all...)
	if code != wantCode {
		s.t.Fatalf("%v: exit code %d, want %d\n%s%s", all, code, wantCode, stdout, stderr)
	}
	var r api.Report
	if stdout == "" {
		return r
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		s.t.Fatalf("%v: %v\n%s", all, err, stdout)
	}
	return r
}

// briefly are flags of a trigger that follows servers for no longer than it must.
var briefly = []string{"--settle", "1ms", "--hold", "1ms", "--group-hold", "1ms", "--quiet", "0"}

// trigger upgrades the outdated servers of the install, and follows that to its end.
func (s *scene) trigger(wantCode int, source string, args ...string) (o outcome, stderr string) {
	s.t.Helper()
	return followed(s.t, wantCode, slices.Concat([]string{"--install-path", s.Path(), "--source", source}, briefly, args)...)
}

// planned is the report of a trigger that sends nothing.
func (s *scene) planned(source string) api.Report {
	s.t.Helper()
	return s.report(exitOK, "trigger", source, "--settle", "1ms", "--dry-run")
}

// upgraded waits until a server runs the image that is installed now.
func (s *scene) upgraded(server *testfleet.Server) {
	s.t.Helper()
	want, err := s.Image()
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = server.Await(within(s.t), func(testfleet.Event) bool { return server.Image() == want })
	if err != nil {
		s.t.Fatalf("server %d was not upgraded to %s: %v; it got %d signals and runs %s",
			server.PID(), want, err, server.Signals(), server.Image())
	}
}

// unharmed says that a server got no signal, lives, and was not exec'd.
func unharmed(t *testing.T, server *testfleet.Server) {
	t.Helper()
	select {
	case <-server.Exited():
		t.Errorf("server %d has ended: %v", server.PID(), server.ExitState())
	default:
	}
	if n := server.Signals(); n != 0 || server.Generation() != 0 {
		t.Errorf("server %d got %d signals and is of generation %d, want neither", server.PID(), n, server.Generation())
	}
}

func verdictOf(t *testing.T, r api.Report, pid selector.PID) selector.Decision {
	t.Helper()
	i := slices.IndexFunc(r.Servers, func(s api.Server) bool { return s.PID == pid })
	if i < 0 {
		t.Fatalf("%d is not in the report: %+v", pid, r.Servers)
	}
	return r.Servers[i].Decision
}

// eventually polls for what no event tells of.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("within %s: not %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func exists(pid selector.PID) bool {
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(int(pid))))
	return err == nil
}
