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
)

// observer is a process that sees all programs start. Its pid is 0 where there is none.
type observer struct {
	pid      int
	programs []*ebpf.Program
	// end ends it, and returns how many programs it has reported.
	end func() (reported int, err error)
}

// observing counts the run time of the BPF programs that a process has loaded.
func observing(pid int, end func() (int, error)) (*observer, error) {
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

// kind is a kind of observer. It must see every program. Where it uses BPF, its programs must run for each.
type kind struct {
	name  string
	start func(context.Context) (*observer, error)
	bpf   bool
}

// The names of the kinds.
const (
	unobserved = ""
	byService  = "the service"
)

// kinds returns the observers to compare. The first of them is none.
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
			return observing(d.pid(), func() (int, error) { d.stop(); return 0, nil })
		}},
	}
	if o.withoutTools {
		return all
	}
	return append(all,
		kind{name: "forkstat", start: func(ctx context.Context) (*observer, error) {
			return reporting(ctx, func(line []byte) bool { return bytes.Contains(line, []byte(" exec ")) }, "forkstat", "-e", "exec")
		}},
		kind{name: "execsnoop.bt", bpf: true, start: func(ctx context.Context) (*observer, error) {
			return reporting(ctx, func(line []byte) bool { return bytes.Contains(line, []byte("/usr/bin/cc ")) }, "unshare", "--mount", "sh", "-c", withTracefs)
		}},
	)
}

// withTracefs mounts the file system where bpftrace finds its tracepoints, for machines that lack it. The mount ends with
// the mount namespace of this one process.
const withTracefs = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing && exec execsnoop.bt"

// comesUp is the time that a tool gets to start.
const comesUp = 4 * time.Second

// reporting starts a tool that writes a line into a file for each program that starts, as its users do to keep the output.
func reporting(ctx context.Context, reports func(line []byte) bool, args ...string) (*observer, error) {
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
		return ended(cmd, filepath.Join(dir, "out"), reports)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := pause(ctx, comesUp); err != nil {
		_, _ = end()
		return nil, err
	}
	return observing(cmd.Process.Pid, end)
}

// ended interrupts a tool, so that it writes the rest of its output, and counts its lines.
func ended(cmd *exec.Cmd, path string, reports func(line []byte) bool) (lines int, err error) {
	_ = cmd.Process.Signal(unix.SIGINT)
	killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if killer.Stop() { // else it did not end by itself
		err = nil
	}
	text, readErr := os.ReadFile(path)
	for line := range bytes.Lines(text) {
		if reports(line) {
			lines++
		}
	}
	if err != nil {
		err = fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	return lines, errors.Join(err, readErr)
}
