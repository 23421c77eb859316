// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"ebpf-upgrader/selector"
)

// originalWalk is the servers' own trigger as a plain Go program. It lists /proc and reads the image of every process, then
// the command line, then the environment of those that match. It returns those that match, and compares nothing else.
func originalWalk() []selector.PID {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []selector.PID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		if _, err := os.Stat(filepath.Join(dir, "exe")); err != nil {
			continue // a kernel thread, or gone
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !originalMatch(cmdline) {
			continue
		}
		if environ, err := os.ReadFile(filepath.Join(dir, "environ")); err == nil {
			_ = bytes.Contains(environ, []byte("RAG_RAT_UPGRADE_BIN="))
			found = append(found, selector.PID(pid))
		}
	}
	return found
}

func originalMatch(cmdline []byte) bool {
	args := bytes.FieldsFunc(cmdline, func(r rune) bool { return r == 0 })
	return len(args) > 1 && filepath.Base(string(args[0])) == "rag-rat" &&
		slices.ContainsFunc(args[1:], func(a []byte) bool { return string(a) == "mcp" })
}
