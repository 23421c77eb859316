// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

func newDemo(a *app) *cobra.Command {
	servers := 8
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it all: start servers, install a new binary, watch them upgrade",
		Long: `Makes a temporary install, starts servers of its own that upgrade themselves as the
real ones do, starts the service beside them, and installs two binaries by rename.
With the good one the servers turn from old to new: the canary alone, then all others.
One is busy, as with a call of its agent, and is waited for until it is idle.
The bad one exits at once: it costs the canary, and the others go on serving.
Touches nothing else, and cleans up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), servers) },
	}
	f := cmd.Flags()
	f.IntVar(&servers, "servers", servers, "how many servers to start")
	a.opts.addSource(f)
	a.opts.addRule(f)
	a.opts.addSettle(f)
	a.opts.addLimits(f, rollout.DefaultLimits().Canary)
	return cmd
}

// newDemoServer is what the copies of this program that the demo installs are started as.
func newDemoServer() *cobra.Command {
	return &cobra.Command{
		Use:    "mcp",
		Short:  "Serve as one of the demo's servers",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error {
			testfleet.Main() // does not come back in a server of the demo
			return usageError("this program is a server only within the demo")
		},
	}
}

// demoName keeps a service of the host from upgrading the demo's servers, too.
const demoName = "rag-rat-demo"

// mostDemoServers is what a machine with little memory can run: each takes some 8 MB.
const mostDemoServers = 500

func (a *app) demo(ctx context.Context, servers int) (err error) {
	if servers < 1 || servers > mostDemoServers {
		return usageError("--servers %d: must be between 1 and %d", servers, mostDemoServers)
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
	a.opts.installPaths, a.opts.names = []string{binary.Path()}, []string{demoName}
	busy := 0
	if servers > 1 {
		busy = 1
	}
	fleet, err := startDemoServers(ctx, servers-busy, binary.Path(), "")
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, fleet.StopAll()) }()
	call := filepath.Join(dir, "call")
	if err := os.WriteFile(call, nil, 0o600); err != nil {
		return fmt.Errorf("keep a server busy: %w", err)
	}
	caller, err := startDemoServers(ctx, busy, binary.Path(), call)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, caller.StopAll()) }()
	show := newDemoScreen(ctx, a.stdout, append(fleet.Servers(), caller.Servers()...), call)
	return interrupted(ctx, a.demoUpgrade(ctx, binary, show, own))
}

// startDemoServers starts some that are busy as long as a file is there, unless its name is empty.
func startDemoServers(ctx context.Context, n int, path, call string) (*testfleet.Fleet, error) {
	fleet, err := testfleet.StartFleet(ctx, n, testfleet.Options{
		Binary: path, UpgradeBin: &path, Argv0: demoName, Behaviour: testfleet.Behaviour{Busy: call},
	})
	if err != nil {
		return nil, err
	}
	if err := fleet.AwaitArmed(ctx, 0); err != nil {
		return nil, errors.Join(err, fleet.StopAll())
	}
	return fleet, nil
}

// interrupted makes one clear error of whatever an interruption broke.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// demoPatience is how long the demo waits for the last server.
const demoPatience = 60 * time.Second

func (a *app) demoUpgrade(ctx context.Context, binary *testfleet.Install, show *demoScreen, own string) error {
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.closeSource() // a look at the install may still be under way
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	watched := watchInstalls(ctx, h.procfs, a.opts.settle)
	defer watched.close()
	watched.serve(h)
	show.ctx = ctx
	cfg := a.serviceConfig(ctx, h, watched, func(controller.Kind) {})
	cfg.Observer = show
	served := make(chan error, 1)
	go func() { served <- controller.NewService(cfg).Run(ctx) }()

	show.intro(binary.Path(), h.source())
	if err := show.await(ctx, 1); err != nil { // the service has looked at everybody once
		return err
	}
	renamed := time.Now()
	if err := binary.Replace(own); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "A new binary lands by rename:")
	err = show.await(ctx, 2)
	if err == nil {
		show.outro(renamed)
		err = show.bad(ctx, binary)
	}
	cancel()
	return errors.Join(err, <-served)
}
