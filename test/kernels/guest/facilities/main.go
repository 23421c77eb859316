// SPDX-License-Identifier: MIT

//go:build linux

// Command facilities writes a [guest.Facilities]: which optional facilities of the kernel the program uses here. It
// calls the packages that use them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/pidfd"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/kernels/guest"
	"ebpf-upgrader/tracker"
)

// patience limits the whole program. The emulation is slow.
const patience = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var f guest.Facilities
	var errs [4]error
	f.Signals, errs[0] = signals(ctx)
	f.Gate, errs[3] = gate(ctx)
	f.Exits, errs[1] = exits(ctx)
	f.Cache, errs[2] = cache()
	if err := errors.Join(errs[:]...); err != nil {
		fmt.Fprintln(os.Stderr, "facilities:", err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	_ = out.Encode(f) // an error cannot be reported
}

// shell runs a script under a name, with an argument, until its input ends. When shell returns, the script has exec'd
// and set its traps.
func shell(name, script, arg string) (cmd *exec.Cmd, end io.WriteCloser, err error) {
	cmd = exec.Command("/bin/sh")
	cmd.Args = []string{name, "-c", script, arg}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	_, err = bufio.NewReader(stdout).ReadString('\n')
	return cmd, stdin, err
}

// open opens a tracker for servers with a name.
func open(ctx context.Context, name string) (*tracker.Tracker, error) {
	return tracker.Open(ctx, tracker.Config{
		Pattern: selector.Pattern{Names: []string{name}, Subcommand: "mcp"},
		Signal:  syscall.SIGUSR1,
		Seed:    func(context.Context) ([]selector.PID, error) { return nil, nil },
	})
}

// signals sends a signal to a process with the name of a server, and checks that the tracker saw it.
func signals(ctx context.Context) (string, error) {
	const name = "facilities-server"
	t, err := open(ctx, name)
	if errors.Is(err, tracker.ErrUnavailable) {
		return "no: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = t.Close() }()
	cmd, end, err := shell(name, `trap "" USR1; echo up; read -r line`, "mcp")
	if err != nil {
		return "", fmt.Errorf("start a server: %w", err)
	}
	defer func() { _ = errors.Join(end.Close(), cmd.Wait()) }()
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return "", fmt.Errorf("signal a server: %w", err)
	}
	trace, err := t.Trace(selector.PID(cmd.Process.Pid))
	switch {
	case errors.Is(err, tracker.ErrUnwatched):
		return "no: " + err.Error(), nil
	case err == nil && trace.SignalledAt.IsZero():
		err = errors.New("signals are recorded, but one was missed")
	}
	return "yes", err
}

// exits reads the exit code of a process after it was reaped and, if it is unknown then, before.
func exits(ctx context.Context) (string, error) {
	after, err := exitKnown(ctx, (*exec.Cmd).Wait)
	if err != nil || after {
		return "pidfd", err
	}
	before, err := exitKnown(ctx, func(*exec.Cmd) error { return nil })
	if err == nil && !before {
		err = errors.New("the exit code of a process is unknown")
	}
	return "/proc", err
}

// exitKnown reports whether the exit code of a process is known after reap.
func exitKnown(ctx context.Context, reap func(*exec.Cmd) error) (known bool, err error) {
	const code = 70
	cmd, end, err := shell("facilities-exit", fmt.Sprintf("echo up; read -r line; exit %d", code), "")
	if err != nil {
		return false, fmt.Errorf("start a process: %w", err)
	}
	defer func() { _ = cmd.Wait() }()
	h, err := pidfd.Open(selector.PID(cmd.Process.Pid))
	if err != nil {
		return false, err
	}
	defer func() { _ = h.Close() }()
	if err := end.Close(); err != nil {
		return false, err
	}
	var exit *exec.ExitError
	if err := reap(cmd); err != nil && !errors.As(err, &exit) {
		return false, err
	}
	ended, err := h.Wait(ctx)
	if got, _ := ended.Code(); err == nil && ended.Known && got != code {
		err = fmt.Errorf("exit code %d is reported, want %d", got, code)
	}
	return ended.Known, err
}

// resolveCached is RESOLVE_CACHED of include/uapi/linux/openat2.h.
const resolveCached = 0x20

// cache tries RESOLVE_CACHED as the program does. The program does not report whether the kernel has it.
func cache() (string, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveCached}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &how)
	switch {
	case errors.Is(err, unix.EINVAL):
		return "no", nil
	case errors.Is(err, unix.EAGAIN):
		return "yes", nil
	case err != nil:
		return "", fmt.Errorf("look up / in the cache: %w", err)
	}
	return "yes", unix.Close(fd)
}
