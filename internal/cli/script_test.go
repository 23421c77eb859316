// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ebpf-upgrader/test/testfleet"
)

var updateScripts = flag.Bool("update", false, "write what the commands print into the scripts")

// TestScripts runs the contract of the command line: testdata/script has a file for each command and topic.
//
// Besides the commands of testscript, a script has:
//
//	exits CODE PROGRAM ARGUMENT...        run a program that must exit with CODE
//	eventually PATTERN PROGRAM ARG...     run a program until it succeeds and its stdout matches PATTERN
//	jsonshape                             replace stdout, which is JSON, by its keys and types
//	server VAR [FAULT]                    start a server of $INSTALL, and set $VAR to its PID
//	replace [KIND]                        install another binary at $INSTALL: a good one, or one of that kind
//	upgraded VAR, signalled VAR, died VAR wait until a server runs the installed file, was signalled, has ended
//	unharmed VAR                          check that a server lives and was never signalled
//	terminate                             send SIGTERM to what runs in the background
//	freeze, thaw                          stop what runs in the background, and have it go on
//
// and the program "unprivileged PROGRAM ARGUMENT...", which execs another as a user without rights.
//
// The servers of a script are called $NAME, as no other process of the host is. Locks, socket and state of a script are
// in its own folder, by the variables of --run-dir and --state-dir.
func TestScripts(t *testing.T) {
	root := newScriptRoot(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		WorkdirRoot:         root,
		Setup:               setupScript,
		Condition:           scriptCondition,
		Cmds:                scriptCommands,
		UpdateScripts:       *updateScripts,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// The programs of scripts, which are this test binary by other names.
const (
	scriptProgram      = "ebpf-upgrader"
	scriptUnprivileged = "unprivileged"
)

// runScriptProgram returns at once where this process is none of the programs of scripts.
func runScriptProgram() {
	switch filepath.Base(os.Args[0]) {
	case scriptProgram:
		os.Exit(Main())
	case scriptUnprivileged:
		fmt.Fprintln(os.Stderr, execUnprivileged(os.Args[1:]))
		os.Exit(1)
	}
}

// newScriptRoot is a folder that every user may search, with the programs of scripts in it. Its path is short, because that
// of a socket must be.
func newScriptRoot(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "eu-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	bin := filepath.Join(root, "bin")
	if err := errors.Join(os.Chmod(root, 0o755), os.Mkdir(bin, 0o755)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(bin, scriptProgram)
	err = errors.Join(copyExecutable(program), os.Link(program, filepath.Join(bin, scriptUnprivileged)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// copyExecutable copies this test binary to where users other than its owner can exec it.
func copyExecutable(to string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	syscall.ForkLock.RLock() // a child that is forked meanwhile would keep the file open for writing
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func setupScript(e *testscript.Env) error {
	dir := filepath.Join(e.WorkDir, "install")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	fleet := &scriptFleet{dir: dir, name: fmt.Sprintf("server-%d-%s", os.Getpid(), filepath.Base(e.WorkDir)), servers: make(map[string]*testfleet.Server)}
	e.Values[scriptFleetKey{}] = fleet
	e.Defer(fleet.stop)
	e.Setenv("PATH", filepath.Join(filepath.Dir(e.WorkDir), "bin")+":"+e.Getenv("PATH"))
	e.Setenv("INSTALL", filepath.Join(dir, testfleet.Name))
	e.Setenv("NAME", fleet.name)
	e.Setenv("EBPF_UPGRADER_RUN_DIR", filepath.Join(e.WorkDir, "run"))
	e.Setenv("EBPF_UPGRADER_STATE_DIR", filepath.Join(e.WorkDir, "state"))
	e.Setenv("UID", strconv.Itoa(os.Geteuid()))
	e.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector, each command would take a second longer
	return nil
}

// scriptCondition knows [root]: the test runs as root, as it must where no test may be skipped.
func scriptCondition(condition string) (bool, error) {
	isRoot := os.Geteuid() == 0
	switch {
	case condition != "root":
		return false, fmt.Errorf("unknown condition %q", condition)
	case !isRoot && os.Getenv("REQUIRE_BPF") == "1":
		return false, errors.New("needs root")
	}
	return isRoot, nil
}

// execUnprivileged returns only when it fails. Where the test does not run as root, there are no rights to drop.
func execUnprivileged(args []string) error {
	const nobody = 65534
	path, err := exec.LookPath(args[0])
	if err == nil && os.Geteuid() == 0 {
		err = errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody))
	}
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// scriptInt is an argument of a script's command.
func scriptInt(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}
