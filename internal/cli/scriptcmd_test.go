// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ebpf-upgrader/test/testfleet"
)

// scriptPatience is how long a script waits for what must happen.
const scriptPatience = time.Minute

type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

var scriptCommands = map[string]scriptCommand{
	"exits":      atLeast(2, scriptExits),
	"eventually": atLeast(2, scriptEventually),
	"jsonshape":  atLeast(0, scriptJSONShape),
	"server":     atLeast(1, scriptServer),
	"replace":    atLeast(0, scriptReplace),
	"upgraded":   atLeast(1, scriptUpgraded),
	"signalled":  atLeast(1, scriptSignalled),
	"died":       atLeast(1, scriptDied),
	"unharmed":   atLeast(1, scriptUnharmed),
	"terminate":  atLeast(0, scriptTerminate),
	"freeze":     atLeast(0, scriptFreeze),
	"thaw":       atLeast(0, scriptThaw),
}

// atLeast is a command that takes n arguments or more, and cannot be negated.
func atLeast(n int, run func(ts *testscript.TestScript, args []string)) scriptCommand {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < n {
			ts.Fatalf("takes no !, and at least %d arguments", n)
		}
		run(ts, args)
	}
}

func scriptExits(ts *testscript.TestScript, args []string) {
	want, got := scriptInt(ts, args[0]), 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d: %s", got, want, strings.Join(args[1:], " "))
	}
}

func scriptEventually(ts *testscript.TestScript, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(scriptPatience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within %s: %v", scriptPatience, err)
		}
	}
}

// scriptJSONShape prints a line for each key of the JSON on stdout: its path, and its type, or its value where that is a
// version of the schema.
func scriptJSONShape(ts *testscript.TestScript, _ []string) {
	shape := make(map[string]string)
	for decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout"))); decoder.More(); {
		var value any
		ts.Check(decoder.Decode(&value))
		addShape(shape, "", value)
	}
	for _, path := range slices.Sorted(maps.Keys(shape)) {
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", path, shape[path])
	}
}

func addShape(shape map[string]string, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			addShape(shape, strings.TrimPrefix(path+"."+key, "."), below)
		}
	case []any:
		if _, known := shape[path+"[]"]; !known && len(v) == 0 {
			shape[path] = "array"
		}
		for _, element := range v {
			delete(shape, path)
			addShape(shape, path+"[]", element)
		}
	case float64:
		shape[path] = "number"
		if path == "schema_version" {
			shape[path] = fmt.Sprint(v)
		}
	case nil:
		shape[path] = "null"
	default:
		shape[path] = fmt.Sprintf("%T", v)
	}
}

// scriptFleet are the servers of one script, and what they run.
type scriptFleet struct {
	dir, name string
	// install is nil as long as no command needs it.
	install *testfleet.Install
	servers map[string]*testfleet.Server
}

type scriptFleetKey struct{}

func fleetOf(ts *testscript.TestScript) *scriptFleet {
	return ts.Value(scriptFleetKey{}).(*scriptFleet)
}

func (f *scriptFleet) stop() {
	for _, s := range f.servers {
		_ = s.Stop()
	}
}

func (f *scriptFleet) installed(ts *testscript.TestScript) *testfleet.Install {
	if f.install == nil {
		var err error
		f.install, err = testfleet.NewInstall(f.dir, serverBinary())
		ts.Check(err)
	}
	return f.install
}

func waiting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scriptPatience)
}

// scriptFaults are what a server can be told to do other than a good one does.
var scriptFaults = map[string]func(*testfleet.Options){
	"no-variable":  func(o *testfleet.Options) { o.UpgradeBin = nil },
	"no-handler":   func(o *testfleet.Options) { o.Behaviour.NeverArm = true },
	"never-execs":  func(o *testfleet.Options) { o.Behaviour.Ignore = true },
	"watches":      func(o *testfleet.Options) { o.Behaviour.WatchDir = filepath.Dir(*o.UpgradeBin) },
	"unprivileged": func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: 65534, GID: 65534} },
	// It crashes after its upgrade, once the script has removed $WORK/lives-NAME.
	"crashes-late": func(o *testfleet.Options) {
		o.Behaviour.Later = &testfleet.Behaviour{From: 1, End: &testfleet.End{Code: 101}}
	},
}

func scriptServer(ts *testscript.TestScript, args []string) {
	f := fleetOf(ts)
	path := f.installed(ts).Path()
	options := testfleet.Options{Binary: path, Argv0: f.name, UpgradeBin: &path}
	for _, name := range args[1:] {
		fault := scriptFaults[name]
		if fault == nil {
			ts.Fatalf("unknown fault %q", name)
		}
		fault(&options)
	}
	if later := options.Behaviour.Later; later != nil {
		later.End.When = filepath.Join(filepath.Dir(f.dir), "lives-"+args[0])
		ts.Check(os.WriteFile(later.End.When, nil, 0o644))
	}
	ctx, cancel := waiting()
	defer cancel()
	s, err := testfleet.Start(ctx, options)
	ts.Check(err)
	f.servers[args[0]] = s
	if err := s.AwaitArmed(ctx, 0); !errors.Is(err, testfleet.ErrNeverArms) {
		ts.Check(err)
	}
	ts.Setenv(args[0], s.PID().String())
}

func scriptReplace(ts *testscript.TestScript, args []string) {
	i := fleetOf(ts).installed(ts)
	replace := map[string]func() error{
		"good":           func() error { return i.Replace(serverBinary()) },
		"exiting":        func() error { return i.ReplaceExiting(1) },
		"truncated":      func() error { return i.ReplaceTruncated(serverBinary()) },
		"not-executable": func() error { return i.ReplaceNotExecutable(serverBinary()) },
	}[append(args, "good")[0]]
	if replace == nil {
		ts.Fatalf("unknown kind of binary %q", args[0])
	}
	ts.Check(replace())
}

func (f *scriptFleet) server(ts *testscript.TestScript, name string) *testfleet.Server {
	s := f.servers[name]
	if s == nil {
		ts.Fatalf("no server %q", name)
	}
	return s
}

func scriptUpgraded(ts *testscript.TestScript, args []string) {
	f := fleetOf(ts)
	want, err := f.installed(ts).Image()
	ts.Check(err)
	scriptAwait(ts, args[0], func(s *testfleet.Server) bool { return s.Image() == want })
}

func scriptSignalled(ts *testscript.TestScript, args []string) {
	scriptAwait(ts, args[0], func(s *testfleet.Server) bool { return s.Signals() > 0 })
}

func scriptAwait(ts *testscript.TestScript, name string, holds func(*testfleet.Server) bool) {
	s := fleetOf(ts).server(ts, name)
	ctx, cancel := waiting()
	defer cancel()
	_, err := s.Await(ctx, func(testfleet.Event) bool { return holds(s) })
	ts.Check(err)
}

func scriptDied(ts *testscript.TestScript, args []string) {
	select {
	case <-fleetOf(ts).server(ts, args[0]).Exited():
	case <-time.After(scriptPatience):
		ts.Fatalf("server %s lives", args[0])
	}
}

func scriptUnharmed(ts *testscript.TestScript, args []string) {
	s := fleetOf(ts).server(ts, args[0])
	select {
	case <-s.Exited():
		ts.Fatalf("server %s has ended: %v", args[0], s.ExitState())
	default:
	}
	if n := s.Signals(); n != 0 || s.Generation() != 0 {
		ts.Fatalf("server %s got %d signals and is of generation %d", args[0], n, s.Generation())
	}
}

func scriptTerminate(ts *testscript.TestScript, _ []string) { signalBackground(ts, syscall.SIGTERM) }

// scriptFreeze has what it stopped go on where the script fails: the test would wait for its end for ever.
func scriptFreeze(ts *testscript.TestScript, _ []string) {
	ts.Defer(func() {
		for _, cmd := range ts.BackgroundCmds() {
			_ = cmd.Process.Signal(syscall.SIGCONT) // it may have ended
		}
	})
	signalBackground(ts, syscall.SIGSTOP)
}

func scriptThaw(ts *testscript.TestScript, _ []string) { signalBackground(ts, syscall.SIGCONT) }

func signalBackground(ts *testscript.TestScript, sig syscall.Signal) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(sig))
	}
}
