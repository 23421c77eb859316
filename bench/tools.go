// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// needed are the programs that each section compares ours with, and the packages of Debian that have them.
var needed = map[string][]struct{ program, pkg string }{
	"find": {{"pgrep", "procps"}, {"lsof", "lsof"}, {"needrestart", "needrestart"}},
	"cost": {{"forkstat", "forkstat"}, {"execsnoop.bt", "bpftrace"}},
}

// checkTools fails where one is missing: the document would lose its rows without a word.
func (o options) checkTools() error {
	if o.withoutTools {
		return nil
	}
	var missing []string
	for _, section := range order {
		for _, n := range needed[section] {
			if _, err := exec.LookPath(n.program); err != nil && o.measures(section) {
				missing = append(missing, n.pkg)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("compare with what people use today: apt-get install %s, or -without-tools", strings.Join(missing, " "))
	}
	return nil
}

// pgrep, lsof and needrestart are what people use today to find the servers of a scene.
func (s *scene) tools(ctx context.Context, k int) []candidate {
	return []candidate{
		tool(ctx, func(out []byte) int { return bytes.Count(out, []byte("\n")) }, k, "pgrep", "-f", serverName+" .*mcp"),
		tool(ctx, s.deleted, k, "lsof", "-w", "+L1"),
		// It names services, of which the servers are none. That it sees them, sees says.
		tool(ctx, func(out []byte) int { return bytes.Count(out, []byte("NEEDRESTART-VER: ")) }, 1, "needrestart", "-b", "-l"),
	}
}

// tool is a program of the machine that must end well and show at least so many.
func tool(ctx context.Context, count func([]byte) int, want int, args ...string) candidate {
	return candidate{name: strings.Join(args, " "), do: func() error {
		out, err := output(ctx, args...)
		if err != nil {
			return err
		}
		if found := count(out); found < want {
			return fmt.Errorf("found %d of %d", found, want)
		}
		return nil
	}}
}

// output is what a program prints. It must exit with 0.
func output(ctx context.Context, args ...string) ([]byte, error) {
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(messages.Bytes()))
	}
	return out.Bytes(), nil
}

// deleted counts the lines of lsof about servers that run the file which was replaced.
func (s *scene) deleted(out []byte) (n int) {
	for line := range bytes.Lines(out) {
		if fields := strings.Fields(string(line)); slices.Contains(fields, "txt") && slices.Contains(fields, s.install) {
			n++
		}
	}
	return n
}

// seenByNeedrestart says whether needrestart takes k servers for outdated, which it tells only when it is asked for
// its reasons.
func (s *scene) seenByNeedrestart(ctx context.Context, k int) error {
	out, err := exec.CommandContext(ctx, "needrestart", "-v", "-b", "-l").CombinedOutput()
	if err != nil {
		return fmt.Errorf("needrestart -v: %w", err)
	}
	if seen := bytes.Count(out, []byte("uses obsolete binary "+s.install)); seen < k {
		return fmt.Errorf("needrestart -v: sees %d of %d", seen, k)
	}
	return nil
}
