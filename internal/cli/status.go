// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

const aboutStatus = `Shows what the running service does: in the first line whether all is well, then
what needs an operator, and each installed file with how far its servers are. With
the path of an install it shows the servers of that by group: those that share an
index.

--check and --wait print the first line only. They exit with 0 if all is well, 1 if
a rollout is halted or failed, 4 if servers are behind, and 3 if no service runs.`

// statusCommand is the command status.
type statusCommand struct {
	*app
	// These are the flags that only status has.
	watch, check, wait, verbose bool
	waitTimeout                 time.Duration
	color                       screen.When
	// path is the install to show; empty: all.
	path string
}

func newStatus(a *app) *cobra.Command {
	s := &statusCommand{app: a}
	cmd := &cobra.Command{
		Use:   "status [INSTALL]",
		Short: "Show what the running service does",
		Long:  aboutStatus,
		Example: `  ebpf-upgrader status
  ebpf-upgrader status /usr/local/bin/rag-rat
  ebpf-upgrader status --watch
  ebpf-upgrader status --wait --wait-timeout 5m && echo done`,
		Args: takesOneAtMost("path", "/usr/local/bin/rag-rat"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				s.path, err = filepath.Abs(args[0])
			}
			if err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	a.opts.use(cmd, clientFlags, "output")
	f := cmd.Flags()
	widenOutput(f)
	f.BoolVar(&s.watch, "watch", false, "show it again at each change until interrupted, on a terminal until the key q")
	f.BoolVar(&s.check, "check", false, "print one line, and exit with 0, 1, 3 or 4")
	f.BoolVar(&s.wait, "wait", false, "wait until no rollout is under way, then as --check")
	f.DurationVar(&s.waitTimeout, "wait-timeout", 0, "how long --wait waits at most (0: without end)")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "show the figures for developers, too")
	f.StringVar((*string)(&s.color), "color", string(screen.Auto), "auto (on a terminal, without NO_COLOR), always or never")
	return cmd
}

func (s *statusCommand) run(ctx context.Context) error {
	switch {
	case s.watch && s.check, s.watch && s.wait:
		return usageError("--watch does not go together with --check or --wait")
	case s.waitTimeout < 0:
		return usageError("--wait-timeout %s: %s", s.waitTimeout, notNegative)
	case s.waitTimeout > 0 && !s.wait:
		return usageError("--wait-timeout needs --wait")
	case s.watch:
		return s.watchStatus(ctx)
	case s.wait:
		return s.waitSettled(ctx)
	}
	a, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if s.check {
		return s.printHealth(a.Health)
	}
	return s.print(s.stdout, a, s.view(time.Now()))
}

// statusJSON is the JSON of status: the answers of the service, and what follows from them.
type statusJSON struct {
	control.Status
	Health health `json:"health"`
	// Servers are those of the install that was asked for.
	Servers []api.ServerStatus `json:"servers,omitempty"`
}

// ask reads the status of the service, or that of the one install.
func (s *statusCommand) ask(ctx context.Context) (a statusJSON, err error) {
	err = s.withService(ctx, func(c *control.Client) error {
		if a.Status, err = c.Status(ctx); err != nil || s.path == "" {
			return err
		}
		a.Servers, err = c.Servers(ctx)
		return err
	})
	switch {
	case err != nil:
		return a, err
	case s.path == "":
	case !slices.ContainsFunc(a.Installs, func(i api.InstallStatus) bool { return i.Path == s.path }):
		return a, unknownInstall(s.path, a.Installs)
	default:
		a.only(s.path)
	}
	a.Health = healthOf(a.Status, s.names)
	return a, nil
}

// unknownInstall names the installs that are known.
func unknownInstall(path string, known []api.InstallStatus) error {
	var paths []string
	for _, i := range known {
		paths = append(paths, strconv.Quote(i.Path))
	}
	paths = slices.Compact(paths)
	if len(paths) == 0 {
		return fmt.Errorf("no server names %q: the service knows no install", path)
	}
	const most = 8
	if more := len(paths) - most; more > 0 {
		paths = append(paths[:most], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("no server names %q: the service knows %s", path, strings.Join(paths, ", "))
}

// only leaves the install at a path, with its servers and rollouts.
func (a *statusJSON) only(path string) {
	a.Installs = slices.DeleteFunc(a.Installs, func(i api.InstallStatus) bool { return i.Path != path })
	isHere := func(number uint64) bool {
		return number != 0 && slices.ContainsFunc(a.Installs, func(i api.InstallStatus) bool { return i.Rollout == number })
	}
	a.Rollouts = slices.DeleteFunc(a.Rollouts, func(r rollout.Report) bool { return !isHere(r.Number) })
	a.Servers = slices.DeleteFunc(a.Servers, func(s api.ServerStatus) bool {
		return s.UpgradeBin != path && (s.Rollout == nil || !isHere(s.Rollout.Rollout))
	})
	a.Verdicts = api.CountVerdicts(a.Servers)
}

// view is how the status is written at that time.
func (s *statusCommand) view(now time.Time) view {
	return view{
		Look: screen.LookOf(s.stdout, s.color, os.Getenv), isWide: s.opts.isWide(), isVerbose: s.verbose, names: s.names, now: now,
	}
}

// checkJSON is the JSON of status --check and --wait.
type checkJSON struct {
	SchemaVersion int `json:"schema_version"`
	health
}

// print writes what a person or a program asked for.
func (s *statusCommand) print(w io.Writer, a statusJSON, v view) error {
	switch {
	case s.opts.output == "json":
		return printJSON(w, a)
	case s.path == "":
		return printStatus(w, a, v)
	}
	return printInstall(w, a, v)
}

// errSilent ends the program with the exit code around it: the output has said all.
var errSilent = errors.New("")

// printHealth writes one line, and returns an error with the exit code.
func (s *statusCommand) printHealth(h health) error {
	err := s.answer(checkJSON{api.SchemaVersion, h}, func(w io.Writer) error {
		fmt.Fprintln(w, s.view(time.Now()).Paint(h.style(), printable(h.Summary)))
		return nil // the exit code has the answer, too
	})
	if code := h.code(); err == nil && code != exitOK {
		return exitWith(code, errSilent)
	}
	return err
}
