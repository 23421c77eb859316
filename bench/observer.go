// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/poll"
)

// observer is a process that sees the start of all programs. The pid is 0 without a process.
type observer struct {
	pid      int
	programs []*ebpf.Program
	// end ends the process, and returns the number of programs that it reported.
	end func() (reported int, err error)
}

// observe makes an observer of a process and the BPF programs that it has loaded.
func observe(pid int, end func() (int, error)) (*observer, error) {
	programs, err := programsOf(pid)
	o := &observer{pid: pid, programs: programs, end: end}
	if err != nil {
		_, _ = o.stop()
		return nil, err
	}
	return o, nil
}

func (o *observer) stop() (reported int, err error) {
	for _, p := range o.programs {
		err = errors.Join(err, p.Close())
	}
	reported, endErr := o.end()
	return reported, errors.Join(err, endErr)
}

// kind is a kind of observer. It must see every program. If it uses BPF, its BPF programs must run for each.
type kind struct {
	name  string
	start func(context.Context) (*observer, error)
	bpf   bool
}

// The names of two kinds.
const (
	unobserved = "none"
	byService  = "the service"
)

// kinds lists the kinds of observers that are compared. The storm without an observer comes first.
func kinds(o options) []kind {
	all := []kind{
		{name: unobserved, start: func(context.Context) (*observer, error) {
			return &observer{end: func() (int, error) { return 0, nil }}, nil
		}},
		{name: byService, bpf: true, start: func(ctx context.Context) (*observer, error) {
			d, err := serveAtRest(ctx)
			if err != nil {
				return nil, err
			}
			return observe(d.PID(), func() (int, error) { d.stop(); return 0, nil })
		}},
	}
	if o.withoutTools {
		return all
	}
	return append(all,
		kind{name: "forkstat", start: func(ctx context.Context) (*observer, error) {
			return logging(ctx, func(line []byte) bool { return bytes.Contains(line, []byte(" exec ")) }, "forkstat", "-e", "exec")
		}},
		kind{name: "execsnoop.bt", bpf: true, start: func(ctx context.Context) (*observer, error) {
			return logging(ctx, func(line []byte) bool { return bytes.Contains(line, []byte("/usr/bin/cc ")) }, "unshare", "--mount", "sh", "-c", withTracefs)
		}},
	)
}

// withTracefs mounts the file system in which bpftrace finds its tracepoints, unless it is mounted. The mount ends
// with this process.
const withTracefs = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing && exec execsnoop.bt"

// startTime is how long a tool may take to start.
const startTime = 4 * time.Second

// logging starts a tool that writes a line for each started program into a file, as a user does to keep the lines.
func logging(ctx context.Context, isReport func(line []byte) bool, args ...string) (*observer, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = file, os.Stderr
	err = errors.Join(cmd.Start(), file.Close())
	end := func() (int, error) {
		defer func() { _ = os.RemoveAll(dir) }()
		return countLines(cmd, filepath.Join(dir, "out"), isReport)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := poll.Sleep(ctx, startTime); err != nil {
		_, _ = end()
		return nil, err
	}
	return observe(cmd.Process.Pid, end)
}

// countLines interrupts a tool, which flushes its output, and counts its lines.
func countLines(cmd *exec.Cmd, path string, isReport func(line []byte) bool) (lines int, err error) {
	_ = cmd.Process.Signal(unix.SIGINT)
	killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if killer.Stop() { // otherwise it did not end at the signal
		err = nil
	}
	text, readErr := os.ReadFile(path)
	for line := range bytes.Lines(text) {
		if isReport(line) {
			lines++
		}
	}
	if err != nil {
		err = fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	return lines, errors.Join(err, readErr)
}
