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

// report writes one event. It ends the server if the other end of the pipe is closed.
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

// line returns the JSON line of an event.
func (s *serving) line(e Event) []byte {
	e.Generation = s.Generation
	text, err := json.Marshal(e)
	if err != nil { // every field is a plain value
		unix.Exit(exitBroken)
	}
	return append(text, '\n')
}

// reportStart reports the running image. In a root without /proc, the control side reads it instead.
func (s *serving) reportStart() {
	e := Event{Kind: Started, PID: selector.PID(os.Getpid()), Args: os.Args}
	e.StartTime, _ = startTime("self")
	e.Image, _ = imageOf("/proc/self/exe")
	s.report(e)
}

// imageOf returns the identity of the file at path.
func imageOf(path string) (selector.Image, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return selector.Image{}, fmt.Errorf("stat %q: %w", path, err)
	}
	return selector.Image{Dev: uint64(st.Dev), Ino: st.Ino}, nil //nolint:unconvert // 32 bits on some architectures
}

// startTimeField is the index of the start time after the name in /proc/PID/stat. The name is field 2 of
// proc_pid_stat(5), the start time is field 22.
const startTimeField = 22 - 3

// startTime returns when a process started, in clock ticks after boot; pid may be "self".
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

// state is what a server keeps over its execs.
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

// next returns the state of the next image.
func (s state) next() state {
	s.Generation++
	return s
}

// environ returns the environment of this process with s in it.
func (s state) environ() []string {
	text, err := json.Marshal(s)
	if err != nil { // every field is a plain value
		unix.Exit(exitBroken)
	}
	kept := withoutVariables(os.Environ(), stateVariable)
	return append(kept, stateVariable+"="+string(text))
}

// withoutVariables returns env without the given variables.
func withoutVariables(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}
