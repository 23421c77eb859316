// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
)

func newPause(a *app) *cobra.Command {
	cmd := newAct(a, "pause", "Make the running service signal no server until resume", a.pause)
	cmd.Long = `Makes the running service signal no server until resume, also after a restart and a
reboot. Servers that were signalled before go on with their upgrade. The reason, the
time and your user are kept, and status shows them.`
	cmd.Example = `  ebpf-upgrader pause --reason "release 1.4 is being tested"
  ebpf-upgrader pause --user ana`
	return cmd
}

func newResume(a *app) *cobra.Command {
	cmd := newAct(a, "resume", "End a pause, and let halted rollouts go on with one server", a.resume)
	cmd.Long = `Ends a pause, and the halts of rollouts. Each halted user goes on with one server; the
others follow when that has proven the binary. So a binary that is still bad ends one
more server of each user. Where a rollout is halted, it shows what will happen, and asks.
A good binary that is installed needs no resume: it begins a rollout of its own.`
	cmd.Example = `  ebpf-upgrader resume
  ebpf-upgrader resume --install-path /usr/local/bin/rag-rat --user ana --yes`
	a.opts.use(cmd, "install-path yes")
	return cmd
}

func newAbandon(a *app) *cobra.Command {
	cmd := newAct(a, "abandon INSTALL", "End the rollout of the binary at INSTALL for good", a.abandon)
	cmd.Long = `Ends the rollout of the binary that is installed at INSTALL: no server is signalled for
it any more, also after a restart of the service. resume does not undo that. The next
file that is installed there begins a rollout of its own.`
	cmd.Example = `  ebpf-upgrader abandon /usr/local/bin/rag-rat --reason "crashes on large repositories"`
	cmd.Args = takesOne("path", "/usr/local/bin/rag-rat")
	a.opts.use(cmd, "yes")
	return cmd
}

// newAct returns a command that requests an act. args has the install of abandon.
func newAct(a *app, use, short string, do func(context.Context, *control.Client, control.ActRequest) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := actRequest(&a.opts, args)
			if err != nil {
				return err
			}
			return a.withService(cmd.Context(), func(c *control.Client) error { return do(cmd.Context(), c, request) })
		},
	}
	a.opts.use(cmd, clientFlags, "user reason")
	cmd.Flags().Lookup("user").Usage = "only servers of this user, by name or number"
	return cmd
}

// actRequest makes a request of the flags and arguments.
func actRequest(o *options, args []string) (control.ActRequest, error) {
	if len(args) > 0 {
		o.installPaths = args
		if err := o.checkInstallPaths(); err != nil {
			return control.ActRequest{}, usageError("%s", strings.Replace(err.Error(), "--install-path", "INSTALL", 1))
		}
	}
	switch {
	case len(o.installPaths) > 1:
		return control.ActRequest{}, usageError("--install-path: give one, or none for all installs")
	case len(o.users) > 1:
		return control.ActRequest{}, usageError("--user: give one, or none for all users")
	case len(o.reason) > control.MaxReason:
		return control.ActRequest{}, usageError("--reason: must not be longer than %d bytes", control.MaxReason)
	}
	request := control.ActRequest{InstallPath: o.installPath(), Reason: o.reason}
	if len(o.selection.Users) > 0 {
		request.UID = &o.selection.Users[0]
	}
	return request, nil
}

func (a *app) pause(ctx context.Context, c *control.Client, request control.ActRequest) error {
	done, err := c.Act(ctx, api.ActPause, request)
	if err != nil {
		return err
	}
	if by := done.Paused; by != nil {
		return a.printLine("already paused " + a.names.act(*by))
	}
	whose := ""
	if done.User != nil {
		whose = " of " + a.names.full(*done.User)
	}
	return a.printLine("paused: no server" + whose + " is signalled until: ebpf-upgrader resume")
}

func (a *app) resume(ctx context.Context, c *control.Client, request control.ActRequest) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	lines, abandoned := planResume(status.Status, request, a.names)
	if len(lines) > 0 {
		lines = append(lines, "A binary that is still bad ends that server of each user. A good one that is installed needs no resume.")
		if err := a.confirm(ctx, lines, "Resume?"); err != nil {
			return err
		}
	}
	done, err := c.Act(ctx, api.ActResume, request)
	if err != nil {
		return err
	}
	after, err := c.Status(ctx)
	if err != nil {
		return err
	}
	hasResumed := len(done.Rollouts) > 0 || status.Paused && !after.Paused || len(status.PausedUsers) > len(after.PausedUsers)
	result := "resumed"
	if !hasResumed {
		result = "nothing to resume"
	}
	if after.Paused {
		return fmt.Errorf("%s: the service is paused for all users %s: resume without --install-path and --user, as root, ends that", result, a.names.pause(after.Status))
	}
	return a.printLine(append(abandoned, result)...)
}

func (a *app) abandon(ctx context.Context, c *control.Client, request control.ActRequest) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	lines, abandoned := planAbandon(status.Status, request, a.names)
	if len(lines) == 0 {
		if len(abandoned) > 0 {
			return a.printLine(abandoned...)
		}
		return fmt.Errorf("no rollout of install %q: status shows the installs", request.InstallPath)
	}
	if err := a.confirm(ctx, lines, "Abandon?"); err != nil {
		return err
	}
	done, err := c.Act(ctx, api.ActAbandon, request)
	if err != nil {
		return err
	}
	return a.printLine(fmt.Sprintf("abandoned (rollouts: %s): no server is signalled until another file is installed at %s",
		strings.Trim(fmt.Sprint(done.Rollouts), "[]"), request.InstallPath))
}

// printLine prints lines to stdout.
func (a *app) printLine(lines ...string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(a.stdout, printable(line)); err != nil {
			return err
		}
	}
	return nil
}
