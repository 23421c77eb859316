// SPDX-License-Identifier: MIT

//go:build linux

// Command demo starts test servers, starts the service beside them, and installs two binaries by rename.
//
// With the good one the servers turn from old to new: the canary alone, then all others. One is busy, as with a call of
// its agent, and is signalled when it is idle. The bad one exits at once: it costs the canary, and the others go on
// serving. The demo works in a temporary folder and removes it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/term"

	"ebpf-upgrader/test/testfleet"
)

func main() {
	testfleet.Main() // does not return in a server of the demo
	// The kernel ends the service with the thread that started it (PR_SET_PDEATHSIG): that is the main one.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// serverName keeps a service of the host from upgrading the demo's servers, too.
const serverName = "rag-rat-demo"

// maxServers is what a machine with little memory can run: each takes some 8 MB.
const maxServers = 500

func demo(ctx context.Context) (err error) {
	servers := flag.Int("servers", 8, "how many servers to start")
	program := flag.String("program", "bin/ebpf-upgrader", "the program that is shown; further arguments are flags of its command run")
	svg := flag.String("svg", "", "write the demo as an animation to this `file`, instead of showing it")
	flag.Parse()
	if *servers < 1 || *servers > maxServers {
		return fmt.Errorf("-servers %d: must be between 1 and %d", *servers, maxServers)
	}
	dir, err := os.MkdirTemp("", "ebpf-upgrader-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	binary, err := testfleet.NewInstall(dir, own)
	if err != nil {
		return err
	}
	fleet, call, err := startServers(ctx, *servers, binary.Path(), dir)
	defer func() {
		for _, f := range fleet {
			err = errors.Join(err, f.StopAll())
		}
	}()
	if err != nil {
		return err
	}
	service, err := startService(*program, binary.Path(), dir, flag.Args())
	if err != nil {
		return err
	}
	defer service.end()
	status, err := service.awaitReady(ctx)
	if err != nil {
		return err
	}
	show := newScreen(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())), fleet, call)
	r := newRecording()
	if *svg != "" {
		show = newScreen(r, true, fleet, call)
	}
	show.intro(binary.Path(), status.Source)
	err = service.explain(upgrade(ctx, service, binary, show, own))
	if err == nil && *svg != "" {
		err = r.save(*svg)
	}
	return err
}

// startServers starts n armed servers. Where there are several, the last fleet is one server that is busy as long as the
// file call exists. The caller must stop what was started, also after an error.
func startServers(ctx context.Context, n int, path, dir string) (fleets []*testfleet.Fleet, call string, err error) {
	call = filepath.Join(dir, "call")
	if err := os.WriteFile(call, nil, 0o600); err != nil {
		return nil, "", fmt.Errorf("keep a server busy: %w", err)
	}
	busy := min(n-1, 1)
	for _, part := range []struct {
		servers   int
		behaviour testfleet.Behaviour
	}{{n - busy, testfleet.Behaviour{}}, {busy, testfleet.Behaviour{Busy: call}}} {
		fleet, err := testfleet.StartFleet(ctx, part.servers, testfleet.Options{
			Binary: path, UpgradeBin: &path, Argv0: serverName, Behaviour: part.behaviour,
		})
		if err != nil {
			return fleets, "", err
		}
		fleets = append(fleets, fleet)
		if err := fleet.AwaitArmed(ctx, 0); err != nil {
			return fleets, "", err
		}
	}
	return fleets, call, nil
}

// upgradesWithin is how long the demo waits for the end of the last rollout.
const upgradesWithin = 60 * time.Second

// upgrade installs the good binary and then the bad one, and shows what becomes of the servers.
func upgrade(ctx context.Context, service *service, binary *testfleet.Install, show *screen, own string) error {
	ctx, cancel := context.WithTimeout(ctx, upgradesWithin)
	defer cancel()
	updates := service.follow(ctx)
	if err := show.await(updates, 1); err != nil { // the service has inspected all servers once
		return err
	}
	renamed := time.Now()
	if err := binary.Replace(own); err != nil {
		return err
	}
	fmt.Fprintln(show.out, "A new binary lands by rename:")
	if err := show.await(updates, 2); err != nil {
		return err
	}
	show.outro(renamed)
	if err := show.begin(); err != nil {
		return err
	}
	if err := binary.ReplaceExiting(1); err != nil {
		return err
	}
	if err := show.await(updates, 3); err != nil {
		return err
	}
	return show.losses(ctx)
}
