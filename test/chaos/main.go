// SPDX-License-Identifier: MIT

//go:build linux

// Command chaos runs the service among servers, installs and a machine that misbehave, and judges it by
// what a kernel program of its own has seen. It needs root.
//
// It plays twice: in the host's PID namespace, and in one with so few numbers that they are used again and
// again. Each time a storm with restarts of the service, one without, and after each a quiet in which
// everybody must reach what is installed. The choices follow from the seed; what the machine makes of them
// does not.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// config is what an arena is told.
type config struct {
	Seed       uint64
	For        time.Duration
	Servers    int
	Churn      int
	FewNumbers bool
	// Dir is an empty directory; the rest are programs.
	Dir, Program, Server, Other string
}

func main() {
	if len(os.Args) > 2 {
		switch role := os.Args[1]; role {
		case "init":
			os.Exit(asInit(os.Args[2]))
		case "arena":
			fail(asArena(os.Args[2]))
			return
		case "churn":
			fail(churn(os.Args[2:]))
			return
		}
	}
	fail(play())
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func play() error {
	var c config
	flag.Uint64Var(&c.Seed, "seed", 0, "what all choices follow from; 0 takes one by chance")
	flag.DurationVar(&c.For, "for", 3*time.Minute, "how long the storms last, all together")
	flag.IntVar(&c.Servers, "servers", 200, "how many servers there are")
	flag.IntVar(&c.Churn, "churn", 500, "how many processes are forked, exec something and end, per second")
	flag.StringVar(&c.Program, "program", "bin/ebpf-upgrader", "the program under test")
	docs := flag.String("docs", "", "the document that gets the figures if this was the longest run so far")
	flag.Parse()
	if os.Getuid() != 0 {
		return errors.New("must run as root: it loads a kernel program and makes users, namespaces and mounts")
	}
	c.Seed = cmp.Or(c.Seed, rand.Uint64()>>1)
	fmt.Printf("seed %d\n", c.Seed)
	results, err := c.playBoth()
	if err != nil {
		return err
	}
	for _, r := range results {
		r.print(os.Stdout)
	}
	if slices.ContainsFunc(results, result.broken) {
		return fmt.Errorf("the rules were broken; again with -seed %d", c.Seed)
	}
	if *docs != "" {
		return document(*docs, c, results)
	}
	return nil
}

// playBoth prepares what the arenas share, and puts the machine back as it was.
func (c config) playBoth() (results []result, err error) {
	if c.Dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || slices.ContainsFunc(results, result.broken) {
			fmt.Fprintln(os.Stderr, "the service's log is kept in", c.Dir)
			return
		}
		err = os.RemoveAll(c.Dir)
	}()
	if c.Program, err = filepath.Abs(c.Program); err != nil {
		return nil, err
	}
	if err := c.build(); err != nil {
		return nil, err
	}
	restore, err := fewEvents()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	c.For /= 2
	for _, c.FewNumbers = range []bool{false, true} {
		r, err := c.play()
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// build compiles the servers and the other sender.
func (c *config) build() error {
	// Servers of another user start from here.
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		return err
	}
	for name, path := range map[string]*string{"ragrat": &c.Server, "owntrigger": &c.Other} {
		*path = filepath.Join(c.Dir, name)
		cmd := exec.Command("go", "build", "-o", *path, "ebpf-upgrader/test/testfleet/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", name, err, out)
		}
	}
	return nil
}

// eventQueue is how many events an inotify instance that is made from now on keeps for its reader, and
// fewest how many they are here.
const (
	eventQueue = "/proc/sys/fs/inotify/max_queued_events"
	fewest     = "8"
)

// fewEvents makes the queues of inotify overflow.
func fewEvents() (restore func() error, err error) {
	before, err := os.ReadFile(eventQueue)
	if err != nil {
		return nil, err
	}
	before = bytes.TrimSpace(before)
	if string(before) == fewest { // left by a run that was killed
		before = []byte("16384") // what the kernel starts with: inotify_user_setup, fs/notify/inotify/inotify_user.c
	}
	set := func(value []byte) error { return os.WriteFile(eventQueue, value, 0) }
	return func() error { return set(before) }, set([]byte(fewest))
}

// play runs one arena in a mount namespace of its own.
func (c config) play() (r result, err error) {
	text, err := json.Marshal(c)
	if err != nil {
		return r, err
	}
	// Who ends us ends the arena first: that puts the clock right.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	// The parent of the arena, for the kernel, is the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "init", string(text))
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGTERM}
	if c.FewNumbers {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	}
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("arena: %w", errors.Join(err, ctx.Err()))
	}
	return r, json.Unmarshal(out, &r)
}
