// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/selector"
)

func newList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show every server with its state, and what it waits for",
		Long: `Shows the servers of this host: whether each is outdated, its state in the rollout,
and what it waits for, or why it is not signalled. A running service answers; without
one, or with --source or --all, the servers are read now. Each server is compared with
the binary that it names itself, or with that of --install-path. Sends nothing, and
opens no binary: what it has in it is not checked. A user other than root sees the
servers of that user.`,
		Example: `  ebpf-upgrader list
  ebpf-upgrader list --user alice --no-containers
  ebpf-upgrader list --install-path /usr/local/bin/rag-rat -o json | jq '.servers[].verdict'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd.Context(), cmd.Flags())
		},
	}
	a.opts.use(cmd, roundFlags, clientFlags)
	widenOutput(cmd.Flags())
	cmd.Flags().BoolVar(&a.opts.all, "all", false, "also show what the other flags leave out, other users' servers, and processes that are no servers")
	return cmd
}

// list reads the servers itself unless a service answers for exactly what is asked.
func (a *app) list(ctx context.Context, flags *pflag.FlagSet) error {
	if err := a.opts.needOnePath(); err != nil {
		return err
	}
	known := a.askService(ctx)
	if !flags.Changed("source") && !a.opts.all && known.answersFor(&a.opts) {
		return a.printListing(known.listing(&a.opts))
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
	report := h.Survey(ctx, a.opts.installPath(), pids)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if !a.opts.all {
		report = report.Only(func(s api.Server) bool { return api.IsServer(s) && s.Verdict != selector.Gone })
	}
	return a.printListing(known.completed(report))
}

// openHostOnce opens the host for one survey. The caller must close it.
func (a *app) openHostOnce(ctx context.Context) (*daemon.Host, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	return daemon.OpenHostOnce(ctx, cfg)
}

// listing is what list prints, and its JSON.
type listing struct {
	api.Report
	// Installs are the files that servers would exec, each once.
	Installs []api.InstalledFile `json:"installs"`
	Servers  []api.ServerStatus  `json:"servers"`
	// Service is the process of the service that was asked; absent: none answered.
	Service selector.PID `json:"service,omitzero"`
	// IsSurvey says that this command read the servers. If not, the service has said it all.
	IsSurvey bool   `json:"survey"`
	Hidden   hidden `json:"hidden"`

	installs []selector.Install
	known    *knowledge
}

// hidden counts the servers that are not shown.
type hidden struct {
	// OtherUsers are those of other users, NotSelected those of other users or containers than the flags say, and OtherInstall
	// those of other installs.
	OtherUsers   int `json:"other_users"`
	NotSelected  int `json:"not_selected"`
	OtherInstall int `json:"other_install"`
}

// printListing prints the servers that were asked for.
func (a *app) printListing(l *listing) error {
	if l.known.err == nil {
		l.Service = l.known.status.PID
	}
	if !a.opts.all {
		l.hide(&a.opts, uint32(os.Geteuid()))
	}
	// Those that no server names are left out, unless one was given.
	isGiven := a.opts.installPath() != ""
	l.Installs = slices.DeleteFunc(api.Files(l.installs, l.Servers), func(f api.InstalledFile) bool { return f.Servers == 0 && !isGiven })
	if l.Servers == nil {
		l.Servers = []api.ServerStatus{}
	}
	return a.answer(l, func(w io.Writer) error { return l.print(w, a) })
}

// hide leaves the servers that were asked for. A user other than root asks for their own, unless --user says otherwise.
func (l *listing) hide(o *options, uid uint32) {
	l.Servers = slices.DeleteFunc(l.Servers, func(s api.ServerStatus) bool {
		switch {
		case s.Verdict == selector.NotSelected:
			l.Hidden.NotSelected++
		case uid != 0 && len(o.selection.Users) == 0 && s.UID != uid:
			l.Hidden.OtherUsers++
		case o.installPath() != "" && s.Verdict == selector.OtherInstall: // one without the variable may belong to this one
			l.Hidden.OtherInstall++
		default:
			return false
		}
		return true
	})
	shown := make(map[selector.PID]bool, len(l.Servers))
	for _, s := range l.Servers {
		shown[s.PID] = true
	}
	l.Plan = slices.DeleteFunc(l.Plan, func(pid selector.PID) bool { return !shown[pid] })
}
