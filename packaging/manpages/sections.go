// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/cli"
)

// section is a part of the manual that help does not have.
type section struct {
	title     string
	appliesTo func(*cobra.Command) bool
	write     func(*roff, *cobra.Command)
}

var sections = []section{
	{"ENVIRONMENT", func(*cobra.Command) bool { return true }, environment},
	{"FILES", func(cmd *cobra.Command) bool { return !cmd.HasParent() || len(filesOf(cmd)) > 0 }, files},
	{"SIGNALS", func(cmd *cobra.Command) bool { return !cmd.HasParent() || isOneOf(cmd, "run", "trigger") }, signals},
	{"METRICS", func(cmd *cobra.Command) bool { return isOneOf(cmd, "run") }, metrics},
}

func isOneOf(cmd *cobra.Command, names ...string) bool { return slices.Contains(names, cmd.Name()) }

func hasFlag(cmd *cobra.Command, name string) bool { return cmd.Flags().Lookup(name) != nil }

func environment(r *roff, cmd *cobra.Command) {
	if !cmd.HasParent() {
		r.text(topic(cmd, "environment"))
		return
	}
	for _, g := range cli.FlagGroups(cmd) {
		for _, f := range g.Flags {
			if f.Name != "help" && f.Name != "version" {
				r.text("Each option has a variable: " + "--" + f.Name + " is " + cli.VariableOf(f.Name) + ". The command line wins. See ebpf-upgrader(8).")
				return
			}
		}
	}
	r.text("This command reads none of its own. See ebpf-upgrader(8).")
}

// file is a file of the program, and the flag of the commands that use it.
type file struct{ path, flag, text string }

var allFiles = []file{
	{"/etc/ebpf-upgrader/config.toml", "config", "The settings of root's service, with drop-ins in /etc/ebpf-upgrader/config.d. See ebpf-upgrader.toml(5)."},
	{"/run/ebpf-upgrader/control.sock", "socket", "The control socket of root's service. That of another user is in /run/user/UID/ebpf-upgrader, or in /tmp/ebpf-upgrader-UID where the first is absent."},
	{"/run/ebpf-upgrader/*.lock", "settle", "The locks that keep two senders from one server."},
	{"/run/ebpf-upgrader/*.json", "settle", "The journal: which servers were signalled, and which rollouts are halted. It must survive the service, and need not survive a reboot."},
	{"/var/lib/ebpf-upgrader", "state-dir", "What must survive a reboot, an operator's pause among it. For another user it is ebpf-upgrader in $XDG_STATE_HOME or ~/.local/state."},
}

func filesOf(cmd *cobra.Command) []file {
	return slices.DeleteFunc(slices.Clone(allFiles), func(f file) bool {
		return cmd.HasParent() && (!hasFlag(cmd, f.flag) || !hasFlag(cmd, "run-dir"))
	})
}

func files(r *roff, cmd *cobra.Command) {
	for _, f := range filesOf(cmd) {
		r.entry(italic(f.path), f.text)
	}
}

func signals(r *roff, cmd *cobra.Command) {
	r.entry(bold("SIGUSR1"), "Is sent to an outdated server that has a handler for it (or the signal of --signal). A server that does not catch it is never signalled.")
	switch {
	case isOneOf(cmd, "trigger"):
		r.entry(bold("SIGINT")+", "+bold("SIGTERM"), "End the command. Servers that were signalled go on upgrading.")
	default:
		r.entry(bold("SIGINT")+", "+bold("SIGTERM"), "End the service, with exit status 0.")
		r.entry(bold("SIGHUP"), "Makes the service read its configuration again, as ebpf-upgrader-reload(8) does.")
	}
}

func metrics(r *roff, _ *cobra.Command) {
	r.text("With --metrics-listen the service answers to /metrics in the format of Prometheus, to /healthz and to /readyz. The HELP lines describe each metric.")
}
