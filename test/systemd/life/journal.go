// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"ebpf-upgrader/test/testfleet"
)

// warnings are the kinds of the lines that journalctl -p warning shows. An emulated machine stands still for longer than a
// read of /proc may take: the audit then finds processes that were not read. The step reload installs a file that is refused.
func (l *life) warnings() ([]string, error) {
	out, err := exec.Command("journalctl", "-t", "ebpf-upgrader", "-p", "warning", "-o", "json", "--output-fields=EVENT").Output()
	var kinds []string
	for line := range strings.Lines(string(out)) {
		var entry struct{ Event string }
		err = errors.Join(err, json.Unmarshal([]byte(line), &entry))
		if entry.Event == "config-refused" || entry.Event == "source-corrected" && l.isEmulated {
			continue
		}
		kinds = append(kinds, entry.Event)
	}
	return kinds, err
}

// quiet checks that restarts, a kill -9, a watchdog and upgrades were no reason to warn.
func (l *life) quiet() error {
	kinds, err := l.warnings()
	if err == nil && len(kinds) > 0 {
		text, _ := run("journalctl", "-t", "ebpf-upgrader", "-p", "warning")
		err = fmt.Errorf("the log warns, and nothing went wrong: %s", text)
	}
	return err
}

// journal lets an install be truncated and then a server die. The log must warn of these, and of nothing else.
func (l *life) journal() error {
	if err := l.quiet(); err != nil {
		return err
	}
	sessions := []*session{l.of("dies-1"), l.of("dies-2")}
	for _, s := range sessions {
		if err := l.sessions.add(s); err != nil {
			return err
		}
	}
	truncated, err := os.ReadFile(folder + "/life")
	if err == nil {
		err = sessions[0].place(truncated[:1<<16])
	}
	err = errors.Join(err, l.warned("install-not-ready"), sessions[0].place([]byte("#!/bin/sh\nexit 1\n")), l.warned("rollout-halted"))
	if err != nil {
		return err
	}
	sessions = slices.DeleteFunc(sessions, func(s *session) bool { return s.lives() != nil })
	if len(sessions) != 1 {
		return fmt.Errorf("%d of 2 sessions live after a bad binary", len(sessions))
	}
	for _, name := range []string{"dies-1", "dies-2"} {
		if name != sessions[0].unit {
			delete(l.sessions, name)
		}
	}
	sessions[0].expected++
	err = errors.Join(sessions[0].land(), l.upgraded())
	kinds, unread := l.warnings()
	if err = errors.Join(err, unread); err == nil && !slices.Equal(kinds, []string{"install-not-ready", "server-crashed", "rollout-halted"}) {
		err = fmt.Errorf("the log warns of %v", kinds)
	}
	return err
}

// of makes a session of bob that no other step uses.
func (l *life) of(name string) *session {
	return &session{unit: name, binary: "/home/bob/bin/rag-rat", properties: []string{"User=bob"}, behaviour: testfleet.Behaviour{}}
}

// warned waits for a line of a kind.
func (l *life) warned(kind string) error {
	return await("the log warns of "+kind, func() error {
		kinds, err := l.warnings()
		if err == nil && !slices.Contains(kinds, kind) {
			err = fmt.Errorf("it warns of %v", kinds)
		}
		return err
	})
}
