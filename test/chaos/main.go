// SPDX-License-Identifier: MIT

//go:build linux

// Command chaos runs the service among servers, installs and a machine with faults, and judges it by the records of a
// kernel program of its own. It needs root.
//
// It runs two arenas: one in the host's PID namespace, and one in a namespace with so few PIDs that they are reused. Each
// has a storm of faults with restarts of the service and one without. After each storm, all servers must run the installed
// file. The random choices follow from the seed; their effect depends on the machine.
package main

import (
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

// config holds the settings of an arena.
type config struct {
	Seed    uint64
	For     time.Duration
	Servers int
	Churn   int
	FewPIDs bool
	// Host: faults may change the clock and settings of the host.
	Host bool
	// Patience limits a quiet phase.
	Patience time.Duration
	// Dir is an empty directory. The others are paths of programs.
	Dir, Program, Server, Other string
}

func main() {
	if len(os.Args) > 2 {
		switch role := os.Args[1]; role {
		case "init":
			os.Exit(runInit(os.Args[2]))
		case "arena":
			fail(runArena(os.Args[2]))
			return
		case "hostile":
			fail(beHostile(os.Args[2]))
			return
		case "forks":
			fail(takePIDs(os.Args[2]))
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
	flag.Uint64Var(&c.Seed, "seed", 0, "seed of all random choices; 0 takes a random one")
	flag.DurationVar(&c.For, "for", 3*time.Minute, "total duration of the storms")
	flag.IntVar(&c.Servers, "servers", 200, "number of servers")
	flag.IntVar(&c.Churn, "churn", 500, "number of processes per second that are forked, exec and end")
	flag.StringVar(&c.Program, "program", "bin/ebpf-upgrader", "`path` of the program under test")
	flag.BoolVar(&c.Host, "host", true, "change the clock of the host for moments, and its inotify settings for the run")
	flag.DurationVar(&c.Patience, "patience", 3*time.Minute, "how long the servers may take in a quiet phase")
	few := flag.Bool("few-pids", true, "play a second time, in a PID namespace with few PIDs")
	docs := flag.String("docs", "", "`document` that gets the figures if this is the longest run so far")
	flag.Parse()
	if os.Getuid() != 0 {
		return errors.New("needs root to load a kernel program, and to make namespaces and mounts")
	}
	c.Seed = cmp.Or(c.Seed, rand.Uint64()>>1)
	fmt.Printf("seed %d\n", c.Seed)
	arenas := []bool{false, true}
	if !*few {
		arenas = arenas[:1]
	}
	results, err := c.playAll(arenas)
	if err != nil {
		return err
	}
	for _, r := range results {
		r.print(os.Stdout)
	}
	if slices.ContainsFunc(results, result.broken) {
		return fmt.Errorf("rules were broken; repeat with -seed %d", c.Seed)
	}
	if *docs != "" && c.Host && *few {
		return document(*docs, c, results)
	}
	return nil
}

// playAll prepares what the arenas share, and restores the machine afterwards.
func (c config) playAll(arenas []bool) (results []result, err error) {
	if c.Dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || slices.ContainsFunc(results, result.broken) {
			fmt.Fprintln(os.Stderr, "what is known is kept in", c.Dir)
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
	if c.Host {
		restore, err := limitInotify()
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, restore()) }()
	}
	c.For /= time.Duration(len(arenas))
	for _, c.FewPIDs = range arenas {
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
	// Servers of another user start from this directory.
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

// play runs one arena in a mount namespace of its own.
func (c config) play() (r result, err error) {
	text, err := json.Marshal(c)
	if err != nil {
		return r, err
	}
	// A signal to this program ends the arena first, which corrects the clock.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	// For the kernel, the parent of the arena is the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "init", string(text))
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGTERM}
	if c.FewPIDs {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
	}
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("arena: %w", errors.Join(err, ctx.Err()))
	}
	return r, json.Unmarshal(out, &r)
}
