// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ebpf-upgrader/install"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

func newList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --install-path PATH",
		Short: "Show every server with its verdict",
		Long: `Shows every server of this host, whether it would be signalled, and if not why.
Sends nothing.`,
		Example: `  ebpf-upgrader list --install-path /usr/local/bin/rag-rat
  ebpf-upgrader list --install-path /usr/local/bin/rag-rat -o json | jq '.servers[].verdict'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context()) },
	}
	a.addRoundFlags(cmd)
	cmd.Flags().BoolVar(&a.opts.all, "all", false, "show the processes that were looked at and turned down, too")
	return cmd
}

func (a *app) list(ctx context.Context) error {
	if err := a.needInstall(); err != nil {
		return err
	}
	h, err := a.openHost(ctx)
	if err != nil {
		return err
	}
	defer h.close()
	candidates := h.Candidates
	if a.opts.all {
		candidates = h.scanner.All
	}
	pids, err := candidates(ctx)
	if err != nil {
		return err
	}
	report := a.upgrader(h).Survey(ctx, install.Check(a.opts.installPath), pids)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if !a.opts.all {
		report = report.Only(upgrade.IsServer)
	}
	return a.printListed(report)
}

func (a *app) printListed(r upgrade.Report) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, r)
	}
	r.Plan = nil // a list promises no delivery
	if err := printServers(a.stdout, r); err != nil {
		return err
	}
	if len(r.Servers) > 0 {
		fmt.Fprintln(a.stdout)
	}
	_, err := fmt.Fprintf(a.stdout, "%s; install: %s; source: %s\n", summary(r), installLine(r.Install), r.Source)
	return err
}

func installLine(i selector.Install) string {
	line := fmt.Sprintf("%s %s", i.Image, i.State)
	if i.Detail != "" {
		line += " (" + printable(i.Detail) + ")"
	}
	return line
}
