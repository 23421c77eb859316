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

// needed lists the programs that each section compares ours with, and their Debian packages.
var needed = map[string][]struct{ program, pkg string }{
	"find": {{"pgrep", "procps"}, {"lsof", "lsof"}, {"needrestart", "needrestart"}},
	"cost": {{"forkstat", "forkstat"}, {"execsnoop.bt", "bpftrace"}},
}

// checkTools fails if a program is missing. Otherwise the document would silently lose its rows.
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
		return fmt.Errorf("compare with the usual tools: apt-get install %s, or -without-tools", strings.Join(missing, " "))
	}
	return nil
}

// tools lists the usual ways to find the servers of a scene.
func (s *scene) tools(ctx context.Context, k int) []candidate {
	return []candidate{
		tool(ctx, func(out []byte) int { return bytes.Count(out, []byte("\n")) }, k, "pgrep", "-f", serverName+" .*mcp"),
		tool(ctx, s.deleted, k, "lsof", "-w", "+L1"),
		// It lists services only, and the servers are no services. checkNeedrestart proves that it sees them.
		tool(ctx, func(out []byte) int { return bytes.Count(out, []byte("NEEDRESTART-VER: ")) }, 1, "needrestart", "-b", "-l"),
	}
}

// tool runs a program of the machine, which must exit with 0 and show at least a number of servers.
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

// output returns what a program prints. It must exit with 0.
func output(ctx context.Context, args ...string) ([]byte, error) {
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(messages.Bytes()))
	}
	return out.Bytes(), nil
}

// deleted counts the lines of lsof about servers that run the replaced file.
func (s *scene) deleted(out []byte) (n int) {
	for line := range bytes.Lines(out) {
		if fields := strings.Fields(string(line)); slices.Contains(fields, "txt") && slices.Contains(fields, s.install) {
			n++
		}
	}
	return n
}

// checkNeedrestart is an error unless needrestart finds k outdated servers. It shows them only in verbose mode.
func (s *scene) checkNeedrestart(ctx context.Context, k int) error {
	out, err := exec.CommandContext(ctx, "needrestart", "-v", "-b", "-l").CombinedOutput()
	if err != nil {
		return fmt.Errorf("needrestart -v: %w", err)
	}
	if seen := bytes.Count(out, []byte("uses obsolete binary "+s.install)); seen < k {
		return fmt.Errorf("needrestart -v: sees %d of %d", seen, k)
	}
	return nil
}
