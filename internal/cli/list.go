// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/selector"
)

func newList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show every server with its verdict",
		Long: `Shows every server of this host, whether it would be signalled, and if not why. Each
is compared with the binary that it names itself, or with that of --install-path.
Sends nothing, and opens no binary: what it has in it is not checked.`,
		Example: `  ebpf-upgrader list
  ebpf-upgrader list --user alice --no-containers
  ebpf-upgrader list --install-path /usr/local/bin/rag-rat -o json | jq '.servers[].verdict'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context()) },
	}
	a.opts.addRound(cmd.Flags())
	cmd.Flags().BoolVar(&a.opts.all, "all", false, "show the processes that were looked at and turned down, too")
	return cmd
}

func (a *app) list(ctx context.Context) error {
	if err := errors.Join(a.checkedPaths(), a.onePath()); err != nil {
		return err
	}
	h, err := a.openHostOnce(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	candidates := h.Candidates
	if a.opts.all {
		candidates = h.All
	}
	pids, err := candidates(ctx)
	if err != nil {
		return err
	}
	report := a.survey(ctx, h, pids)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if !a.opts.all {
		report = report.Only(api.IsServer)
	}
	return a.printListed(report)
}

// openHostOnce opens the host for one round. The caller must close it.
func (a *app) openHostOnce(ctx context.Context) (*daemon.Host, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return daemon.OpenHostOnce(ctx, cfg)
}

// survey compares with the install that was given, or each server with what it names.
func (a *app) survey(ctx context.Context, h *daemon.Host, pids []selector.PID) api.Report {
	if path := a.opts.installPath(); path != "" {
		installed := install.Stat(install.RootedPath{Path: path})
		return h.Survey(ctx, &installed, pids)
	}
	return h.Survey(ctx, nil, pids)
}

func (a *app) printListed(r api.Report) error {
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
	_, err := fmt.Fprintf(a.stdout, "%s; %s; source: %s\n", daemon.Verdicts(r), installsLine(r.Installs), r.Source)
	return err
}

func installsLine(installs []selector.Install) string {
	if len(installs) == 1 {
		return "install: " + installLine(installs[0])
	}
	return fmt.Sprintf("%d installs", len(installs))
}

func installLine(i selector.Install) string {
	line := string(i.State)
	if i.Image.Known() {
		line = fmt.Sprintf("%s %s", i.Image, i.State)
	}
	if i.Detail != "" {
		line += " (" + printable(i.Detail) + ")"
	}
	return line
}
