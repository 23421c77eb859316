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

// onlooker is a process that sees all programs start. The pid is 0 where there is none.
type onlooker struct {
	pid      int
	programs []*ebpf.Program
	// end ends it, and says how many programs it told of.
	end func() (told int, err error)
}

// watching begins to look on with what a process has loaded.
func watching(pid int, end func() (int, error)) (*onlooker, error) {
	programs, err := programsOf(pid)
	o := &onlooker{pid: pid, programs: programs, end: end}
	if err != nil {
		_, _ = o.stop()
		return nil, err
	}
	return o, nil
}

func (o *onlooker) stop() (told int, err error) {
	for _, p := range o.programs {
		err = errors.Join(err, p.Close())
	}
	told, endErr := o.end()
	return told, errors.Join(err, endErr)
}

// kind is a kind of onlooker. It must see every program, and where it uses BPF its programs must run for each.
type kind struct {
	name  string
	start func(context.Context) (*onlooker, error)
	bpf   bool
}

// The names of the kinds.
const (
	byNobody  = "nobody"
	byService = "the service"
)

// kinds are those whose storms are compared, nobody first.
func kinds(o options) []kind {
	all := []kind{
		{name: byNobody, start: func(context.Context) (*onlooker, error) {
			return &onlooker{end: func() (int, error) { return 0, nil }}, nil
		}},
		{name: byService, bpf: true, start: func(ctx context.Context) (*onlooker, error) {
			d, err := serveAtRest(ctx)
			if err != nil {
				return nil, err
			}
			return watching(d.pid(), func() (int, error) { d.stop(); return 0, nil })
		}},
	}
	if o.withoutTools {
		return all
	}
	return append(all,
		kind{name: "forkstat", start: func(ctx context.Context) (*onlooker, error) {
			return telling(ctx, func(line []byte) bool { return bytes.Contains(line, []byte(" exec ")) }, "forkstat", "-e", "exec")
		}},
		kind{name: "execsnoop.bt", bpf: true, start: func(ctx context.Context) (*onlooker, error) {
			return telling(ctx, func(line []byte) bool { return bytes.Contains(line, []byte("/usr/bin/cc ")) }, "unshare", "--mount", "sh", "-c", withTracefs)
		}},
	)
}

// withTracefs is for machines on which nobody has mounted what bpftrace finds its tracepoints in. It ends with the mounts
// of this one process.
const withTracefs = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing && exec execsnoop.bt"

// comesUp is how long a tool is given to come up.
const comesUp = 4 * time.Second

// telling is a tool that writes a line into a file for each program that starts, as when somebody keeps what it says.
func telling(ctx context.Context, tells func(line []byte) bool, args ...string) (*onlooker, error) {
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
		return ended(cmd, filepath.Join(dir, "out"), tells)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := pause(ctx, comesUp); err != nil {
		_, _ = end()
		return nil, err
	}
	return watching(cmd.Process.Pid, end)
}

// ended interrupts a tool, which writes what it still has, and counts its lines.
func ended(cmd *exec.Cmd, path string, tells func(line []byte) bool) (lines int, err error) {
	_ = cmd.Process.Signal(unix.SIGINT)
	killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if killer.Stop() { // else it did not do as it was told
		err = nil
	}
	text, readErr := os.ReadFile(path)
	for line := range bytes.Lines(text) {
		if tells(line) {
			lines++
		}
	}
	if err != nil {
		err = fmt.Errorf("end %s: %w", cmd.Path, err)
	}
	return lines, errors.Join(err, readErr)
}
