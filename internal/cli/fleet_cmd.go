// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/screen"
)

func newFleet(a *app) *cobra.Command {
	var o fleetFlags
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show which hosts of a fleet have put a release in place",
		Long: `Reads the record that the hosts of a fleet share, and shows its policy, its releases, and the
hosts that have failed or have a seat. Asks the engine itself, and needs no service here.`,
		Example: `  ebpf-upgrader fleet --fleet etcd://127.0.0.1:2379/fleets/prod
  ebpf-upgrader fleet --fleet kubernetes://agents/prod -o json | jq '.releases[].failed'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.fleet(cmd.Context(), &o) },
	}
	o.addAccess(cmd.Flags())
	a.opts.use(cmd, "output")
	cmd.AddCommand(a.newFleetPolicy(), a.newFleetClear(), a.newFleetPoke(), newFleetReady(a))
	return cmd
}

func (a *app) fleet(ctx context.Context, o *fleetFlags) error {
	h, err := o.record()
	if err != nil {
		return err
	}
	v, err := h.Read(ctx)
	if err != nil {
		return err
	}
	shown := newFleetJSON(o.Engine, v)
	if a.opts.output == "json" {
		return printJSON(a.stdout, shown)
	}
	return shown.print(a.stdout, screen.LookOf(a.stdout, screen.Auto, os.Getenv))
}

func (a *app) newFleetPolicy() *cobra.Command {
	return &cobra.Command{
		Use:   "policy FILE",
		Short: "Check a policy, and say in words what it means",
		Long: `Reads a policy of a fleet as the hosts do, from a file or from standard input (-), and says in
words what it means. Reaches no engine.`,
		Example: `  ebpf-upgrader fleet policy policy.json && etcdctl put fleets/prod/policy <policy.json`,
		Args:    takesOne("file", "policy.json"),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			p, err := fleet.ParsePolicy(data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			for _, line := range p.Explain() {
				fmt.Fprintln(a.stdout, printable(line))
			}
			return nil
		},
	}
}

// readPolicy reads no more than a policy may have, and a byte.
func readPolicy(path string) ([]byte, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, fleet.MaxPolicyBytes+1))
}

func (a *app) newFleetPoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "poke",
		Short: "Make this host ask its fleet now",
		Long: `Makes the running service ask its fleet at once, instead of at the time that status shows: after
an operator has changed the policy, or the engine is back. status shows the answer.`,
		Example: `  ebpf-upgrader fleet poke && ebpf-upgrader status`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(cmd.Context(), func(c *control.Client) error {
				if _, err := c.Poke(cmd.Context()); err != nil {
					return err
				}
				return a.printLine("the host asks its fleet now: status shows the answer")
			})
		},
	}
	a.opts.use(cmd, clientFlags)
	return cmd
}

func (a *app) newFleetClear() *cobra.Command {
	var o fleetFlags
	cmd := &cobra.Command{
		Use:   "clear HOST",
		Short: "Forget that a release failed on a host",
		Long: `Takes the mark of a failed host out of the record, in every release, by its name or its id. Other
hosts may go on where fewer than max_failed marks are left. The host may try the release again.`,
		Example: `  ebpf-upgrader fleet clear node-9 --fleet etcd://127.0.0.1:2379/fleets/prod`,
		Args:    takesOne("host", "node-9"),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := o.record()
			if err != nil {
				return err
			}
			found, err := h.Clear(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case !found:
				return fmt.Errorf("no host %q has failed: fleet shows those that have", args[0])
			}
			return a.printLine(fmt.Sprintf("cleared: %s", printable(args[0])))
		},
	}
	o.addAccess(cmd.Flags())
	return cmd
}
