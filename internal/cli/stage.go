// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
)

// staging is what the flags say of staged files.
func (o *options) staging(flags *pflag.FlagSet) (s daemon.Staging, err error) {
	for _, path := range o.stage {
		switch {
		case !filepath.IsAbs(path) || filepath.Clean(path) != path:
			return s, usageError("--stage %q: must be an absolute path without . and ..", path)
		case slices.Contains(s.Paths, path):
			return s, usageError("--stage %q: was given twice", path)
		}
		s.Paths = append(s.Paths, path)
	}
	if o.rollsBack && len(o.stage) == 0 {
		return s, usageError("--stage-rollback needs --stage")
	}
	s.RollsBack = o.rollsBack
	if err := o.fleet.check(flags); err != nil || o.fleet.Engine == "" {
		return s, err
	}
	if len(o.stage) == 0 {
		return s, usageError("--fleet needs --stage: the fleet decides when staged files are put in place")
	}
	name, err := o.fleet.hostName()
	s.Fleet = &daemon.Fleet{Access: o.fleet.Access, Name: name, Ring: o.fleet.ring, OpenAfter: o.fleet.openAfter}
	return s, err
}

// activation are the flags of activate.
type activation struct {
	wait bool
	bake time.Duration
}

func newActivate(a *app) *cobra.Command {
	var o activation
	cmd := &cobra.Command{
		Use:   "activate INSTALL",
		Short: "Put the staged file of an install in place",
		Long: `Makes the running service put the file that is staged at INSTALL.next in place, without
waiting for a gate: it is run once in a cage first, and then copied over INSTALL. Its
servers are upgraded as ever. With --wait the command ends when that is over, and with
--bake as well when no upgraded server has crashed for as long after that.`,
		Example: `  ebpf-upgrader activate /usr/local/bin/rag-rat --wait
  ebpf-upgrader activate /usr/local/bin/rag-rat --wait --bake 10m`,
		Args: takesOne("path", "/usr/local/bin/rag-rat"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			request := control.StageRequest{InstallPath: path, Reason: a.opts.reason}
			isGiven := cmd.Flags().Changed("bake")
			if isGiven {
				bake := rollout.Seconds(o.bake)
				request.Bake = &bake
			}
			if o.bake < 0 || o.bake > control.MaxBake {
				return usageError("--bake %s: must be between 0 and %s", o.bake, control.MaxBake)
			}
			return a.withService(cmd.Context(), func(c *control.Client) error { return a.activate(cmd.Context(), c, request, o, isGiven) })
		},
	}
	a.opts.use(cmd, clientFlags, "reason")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until its servers are upgraded, and with --bake until it has baked")
	cmd.Flags().DurationVar(&o.bake, "bake", control.DefaultBake, "how long late crashes of upgraded servers fail it")
	return cmd
}

func newRollback(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback INSTALL",
		Short: "Put the file back that a staged one has replaced",
		Long: `Makes the running service put the file at INSTALL.previous back in the place of INSTALL.
New sessions use it at once, and upgraded servers are brought back to it. An index
that the newer file has migrated stays migrated: the older one refuses it, so sessions
on that index fail until a newer file is installed.`,
		Example: `  ebpf-upgrader rollback /usr/local/bin/rag-rat --reason "crashes on large repositories"`,
		Args:    takesOne("path", "/usr/local/bin/rag-rat"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			request := control.StageRequest{InstallPath: path, Reason: a.opts.reason}
			return a.withService(cmd.Context(), func(c *control.Client) error { return a.rollback(cmd.Context(), c, request) })
		},
	}
	a.opts.use(cmd, clientFlags, "reason")
	return cmd
}

// stagePollEvery is the time between two looks at a staged file.
const stagePollEvery = 200 * time.Millisecond

func (a *app) activate(ctx context.Context, c *control.Client, request control.StageRequest, o activation, bakes bool) error {
	if err := a.awaitSeen(ctx, c, request.InstallPath); err != nil {
		return err
	}
	done, err := c.Activate(ctx, request)
	if err != nil {
		return err
	}
	s, err := stagedAt(done.Staged, request.InstallPath)
	if err != nil {
		return err
	}
	if s.State == string(stage.Idle) {
		if s.Why != "" {
			return errors.New(s.Why)
		}
		return a.printLine("nothing to do: no other file than the installed one is staged at " + stage.NextPath(s.Path))
	}
	if !o.wait {
		return a.printLine(fmt.Sprintf("%s is to be put in place at %s: status shows how far it is", stage.Release(s.Release).Short(), s.Path))
	}
	if s, err = a.await(ctx, c, s, func(s api.Staged) bool { return isOver(s, bakes) }); err != nil {
		return err
	}
	return a.activated(s)
}

// isOver reports whether an activation has come to its end. A bake is waited for only if it was asked for.
func isOver(s api.Staged, bakes bool) bool {
	switch stage.State(s.State) {
	case stage.Seated, stage.Activated:
		return false
	case stage.Wanted:
		return s.Preflight != nil && s.Preflight.Problem != "" && s.Preflight.Release == s.Release || strings.HasPrefix(s.Why, "not put in place")
	case stage.Baking:
		return !bakes
	}
	return true
}

// await looks at a staged path until it is as wanted. It goes on with the next service where one ends.
func (a *app) await(ctx context.Context, c *control.Client, s api.Staged, isDone func(api.Staged) bool) (api.Staged, error) {
	path := s.Path
	for !isDone(s) {
		select {
		case <-time.After(stagePollEvery):
		case <-ctx.Done():
			return s, errInterrupted
		}
		err := control.Again(ctx, func(answered func()) error {
			answered() // the request to activate was
			status, err := c.Status(ctx)
			if err == nil {
				s, err = stagedAt(status.Staged, path)
			}
			return err
		}, a.nextService)
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// activated prints how an activation ended. Its exit codes are those of trigger.
func (a *app) activated(s api.Staged) error {
	release := stage.Release(s.Release).Short()
	switch stage.State(s.State) {
	case stage.Failed:
		return fmt.Errorf("%s failed at %s: %s", release, s.Path, s.Why)
	case stage.Wanted:
		if s.Preflight != nil && s.Preflight.Output != "" {
			fmt.Fprintf(a.stderr, "%s printed: %s\n", stage.NextPath(s.Path), printable(s.Preflight.Output))
		}
		return fmt.Errorf("%s was not put in place at %s: %s", release, s.Path, s.Why)
	case stage.Idle:
		return fmt.Errorf("%s: another file was installed meanwhile", s.Path)
	}
	switch {
	case s.Deaths > 0:
		return fmt.Errorf("servers died: %d; servers still outdated: %d", s.Deaths, s.Behind)
	case s.Behind > 0:
		return stillOutdated(s.Behind)
	}
	return a.printLine(fmt.Sprintf("%s is in place at %s: %s", release, s.Path, s.State))
}

func (a *app) rollback(ctx context.Context, c *control.Client, request control.StageRequest) error {
	done, err := c.Rollback(ctx, request)
	if err != nil {
		return err
	}
	s, err := stagedAt(done.Staged, request.InstallPath)
	if err != nil {
		return err
	}
	isRestored := func(s api.Staged) bool {
		return s.RolledBack || s.State != string(stage.Failed) || strings.Contains(s.Why, "; not rolled back: ")
	}
	if s, err = a.await(ctx, c, s, isRestored); err != nil {
		return err
	}
	if !s.RolledBack {
		return fmt.Errorf("not rolled back: %s is %s: %s", s.Path, s.State, s.Why)
	}
	return a.printLine("the file before is in place again at "+s.Path+"; upgraded servers are brought back to it",
		"an index that "+stage.Release(s.Release).Short()+" has migrated stays migrated: the file before may refuse it")
}

func stagedAt(all []api.Staged, path string) (api.Staged, error) {
	for _, s := range all {
		if s.Path == path {
			return s, nil
		}
	}
	return api.Staged{}, fmt.Errorf("this service stages no files for %q: start it with --stage", path)
}

// staged says how far each staged path has come.
func (v view) staged(s control.Status) (lines []stagedLine) {
	for _, p := range s.Staged {
		at := stage.State(p.State)
		if at == stage.Idle {
			if p.Why != "" {
				lines = append(lines, stagedLine{true, fmt.Sprintf("%s: %s", stage.NextPath(p.Path), p.Why)})
			}
			continue
		}
		text := fmt.Sprintf("%s  %s %s", p.Path, stage.Release(p.Release).Short(), at)
		if !p.Since.IsZero() {
			text += " since " + clock(p.Since, v.now)
		}
		if at == stage.Baking {
			text += " until " + clock(p.Until, v.now)
		}
		if p.Why != "" {
			text += ": " + p.Why
		}
		if at == stage.Wanted && !p.Until.IsZero() {
			text += "; asks again at " + clock(p.Until, v.now)
		}
		if p.RolledBack {
			text += "; the file before is in place again"
		}
		isBad := at == stage.Failed || p.Preflight != nil && p.Preflight.Problem != ""
		lines = append(lines, stagedLine{isBad, text})
		if p.Preflight != nil && p.Preflight.Output != "" {
			lines = append(lines, stagedLine{true, "it printed: " + p.Preflight.Output})
		}
	}
	return lines
}

// stagedLine is a line about a staged path.
type stagedLine struct {
	isBad bool
	text  string
}
