// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// reportFD is the descriptor that events are written to. It is inherited, and survives the exec.
const reportFD = 3

// report writes one event. When nobody reads it, the server has no reason to live.
func (s *serving) report(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := s.line(e); len(line) > 0; {
		n, err := unix.Write(reportFD, line)
		switch {
		case err == nil:
			line = line[n:]
		case err != unix.EINTR:
			unix.Exit(0)
		}
	}
}

// line is an event as it is written.
func (s *serving) line(e Event) []byte {
	e.Generation = s.Generation
	text, err := json.Marshal(e)
	if err != nil { // every field is a plain value
		unix.Exit(exitBroken)
	}
	return append(text, '\n')
}

// reportStart says what runs. In a root without /proc the control side has to look for itself.
func (s *serving) reportStart() {
	e := Event{Kind: Started, PID: selector.PID(os.Getpid()), Args: os.Args}
	e.StartTime, _ = startTime("self")
	e.Image, _ = imageOf("/proc/self/exe")
	s.report(e)
}

// imageOf is the file that path leads to.
func imageOf(path string) (selector.Image, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return selector.Image{}, fmt.Errorf("stat %q: %w", path, err)
	}
	return selector.Image{Dev: uint64(st.Dev), Ino: st.Ino}, nil //nolint:unconvert // 32 bits on some architectures
}

// startTimeField is the place of the start time behind the name in /proc/PID/stat, which is field 2
// of proc_pid_stat(5); the start time is field 22.
const startTimeField = 22 - 3

// startTime is when a process started, in clock ticks after boot; pid may be "self".
func startTime(pid string) (uint64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= startTimeField {
		return 0, fmt.Errorf("parse stat of %s: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(string(fields[startTimeField]), 10, 64)
}

// stateVariable carries a server's state over its exec.
const stateVariable = "TESTFLEET_STATE"

// state is what a server knows from the images before.
type state struct {
	Generation int          `json:"generation"`
	Child      selector.PID `json:"child,omitzero"`
	Daemon     bool         `json:"daemon,omitzero"`
	Session    handOff      `json:"session,omitzero"`
}

func readState() (state, error) {
	var s state
	text, ok := os.LookupEnv(stateVariable)
	if !ok {
		return s, nil
	}
	err := json.Unmarshal([]byte(text), &s)
	return s, err
}

// next is the state of the image to come.
func (s state) next() state {
	s.Generation++
	return s
}

// environ is the environment of this process with s in it.
func (s state) environ() []string {
	text, err := json.Marshal(s)
	if err != nil { // every field is a plain value
		unix.Exit(exitBroken)
	}
	kept := withoutVariables(os.Environ(), stateVariable)
	return append(kept, stateVariable+"="+string(text))
}

// withoutVariables is env without those variables.
func withoutVariables(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}
