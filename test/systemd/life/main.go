// SPDX-License-Identifier: MIT

//go:build linux

// Command life runs in a booted system, as root: it installs the package and takes the service through its life there.
// It writes one line for each step, and ends with 1 at the first that fails. It is the server of its sessions as well.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/test/testfleet"
)

// Folder has this program, the packages and the lines of the README.
const folder = "/opt/life"

// patience limits each wait. An emulated machine is some ten times slower than a real one, and more on a busy host.
const patience = 5 * time.Minute

func main() {
	testfleet.Main()
	if len(os.Args) > 2 && os.Args[1] == "session" {
		fmt.Fprintln(os.Stderr, "life:", becomeSession(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	is := func(word string) bool { return slices.Contains(os.Args[2:], word) }
	l := &life{
		sessions:   make(sessions),
		isEmulated: is("emulated"), hasOptions: is("options"), countsMemory: is("counts-memory"), isRPM: is("rpm"),
	}
	for _, s := range l.steps() {
		begin := time.Now()
		err := s.do()
		took := time.Since(begin).Round(10 * time.Millisecond)
		if err != nil {
			fmt.Printf("@@ FAIL %s (%s): %v\n", s.name, took, err)
			l.explain()
			os.Exit(1)
		}
		fmt.Printf("@@ ok %s (%s)\n", s.name, took)
	}
	fmt.Println("@@ done " + l.facts)
}

// life is what the steps share.
type life struct {
	sessions sessions
	// isEmulated: the machine is slow, and its kernel must have the gate. hasOptions: those that the unit warns of are
	// tried. countsMemory: the kernel is older than 5.11. isRPM: the package is one for rpm.
	isEmulated, hasOptions, countsMemory, isRPM bool
	// facts are the cells of the document: kernel, systemd, source, gate.
	facts string
}

// step is a part of the life.
type step struct {
	name string
	do   func() error
}

func (l *life) steps() []step {
	if l.isRPM {
		return l.rpm()
	}
	all := []step{
		{"two users", l.users},
		{"install by the lines of the README", l.install},
		{"a session upgrades, beside the lines of the README", l.first},
		{"uninstall by the lines of the README", l.uninstall},
		{"install again", l.install},
		{"the unit is sound, and its source is eBPF", l.unit},
		{"sessions of two users start", l.start},
		{"the group sees all servers, a user their own", l.group},
		{"a rollout upgrades all of them", l.rollout},
		{"the lines that collect a report", func() error { return lines("report") }},
		{"reload", l.reload},
		{"restart", l.restart},
		{"kill -9", l.kill},
		{"watchdog", l.watchdog},
		{"upgrade of the package during a rollout", l.upgrade},
		{"disabled stays disabled", l.disabled},
		{"the log warns of deaths, halts and truncated files only", l.journal},
		{"a trigger across a failed start", l.trigger},
	}
	if l.hasOptions {
		all = append(all, step{"options that must not be set", l.breaking}, step{"without a network", l.secluded},
			step{"staged by the loop of the document", recipes{l}.looped}, step{"staged by the diversion of the document", recipes{l}.diverted})
	}
	if l.countsMemory {
		all = append(all, step{"without LimitMEMLOCK", l.unlimited})
	}
	return append(all, step{"remove", l.remove}, step{"purge", l.purge})
}

// explain shows the log of the service.
func (l *life) explain() {
	for _, command := range []string{
		"journalctl --no-pager -o short-precise -u ebpf-upgrader | tail -n 60", "systemctl --no-pager --failed", "ebpf-upgrader status",
	} {
		out, _ := exec.Command("bash", "-c", command).CombinedOutput()
		fmt.Printf("--- %s\n%s", command, out)
	}
}

// run runs a command, and returns its output without space around it.
func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// errHopeless ends a wait early.
var errHopeless = errors.New("it cannot happen any more")

// await polls until the condition holds. what says what did not happen, and ends with the last reason.
func await(what string, holds func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := holds()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || errors.Is(err, errHopeless) {
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
