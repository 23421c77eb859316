// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/screen"
)

func newConfig(a *app) *cobra.Command {
	isRunning := false
	cmd := &cobra.Command{
		Use:   "config [check [FILE]]",
		Short: "Show each setting of the service with its source, or check a configuration file",
		Long: `Shows each setting that run would have now, with where it comes from: a flag, a variable,
a line of a file, or the default. An earlier one overrides the later ones. CHANGE says
whether a new value needs a reload or a restart. With --running it shows those of the
running service instead, which may have flags and variables of its own.

With check, it checks the files that run would read, or FILE, and prints what is wrong
with file and line. Root's service reads /etc/ebpf-upgrader/config.toml, and then the
files in /etc/ebpf-upgrader/config.d that end in .toml. Any other file is read only where
--config names it. No command but run reads these files.`,
		Example: `  ebpf-upgrader config
  ebpf-upgrader config --running
  ebpf-upgrader config check ./config.toml && sudo cp config.toml /etc/ebpf-upgrader/`,
		Args:              checkConfigArgs,
		ValidArgsFunction: completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, isGiven := a.opts.config, cmd.Flags().Changed("config")
			switch {
			case isRunning && (len(args) > 0 || isGiven):
				return usageError("--running: the running service has read its files: leave out check and --config")
			case isRunning:
				return a.withService(cmd.Context(), func(c *control.Client) error {
					settings, err := c.Settings(cmd.Context())
					if err != nil {
						return err
					}
					return a.showSettings(settings)
				})
			case len(args) > 1:
				path, isGiven = args[1], true
			}
			var run []string
			if isGiven {
				run = []string{"--config", path}
			}
			cfg, err := a.runConfig(run)
			switch {
			case err != nil:
				return err
			case len(args) > 0:
				return a.printLine(checkedFiles(cfg.Settings))
			}
			return a.showSettings(api.Settings{SchemaVersion: api.SchemaVersion, Settings: cfg.Settings})
		},
	}
	cmd.Flags().BoolVar(&isRunning, "running", false, "show the settings of the running service")
	a.opts.use(cmd, clientFlags, "config output")
	return cmd
}

func checkConfigArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && args[0] != "check":
		return usageError("config takes check, and not %q: %s", args[0], seeHelp(cmd))
	case len(args) > 2:
		return usageError("config check takes one file, and also has %q: %s", args[2], seeHelp(cmd))
	case len(args) == 2 && args[1] == "":
		return usageError("config check: the name of the file is empty")
	}
	return nil
}

func completeConfig(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return []cobra.Completion{"check"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// checkedFiles says which files set something.
func checkedFiles(settings []api.Setting) string {
	var files []string
	n := 0
	for _, s := range settings {
		if s.Source == api.SettingFile {
			n++
			files = append(files, s.File)
		}
	}
	if n == 0 {
		return "ok: no file sets anything"
	}
	slices.Sort(files)
	return fmt.Sprintf("ok: %d settings from %s", n, strings.Join(slices.Compact(files), ", "))
}

func (a *app) showSettings(s api.Settings) error {
	return a.answer(s, func(w io.Writer) error {
		table := screen.NewTable("SETTING", "VALUE", "CHANGE", "SOURCE")
		for _, s := range s.Settings {
			change := "restart"
			if s.Reloads {
				change = "reload"
			}
			table.Add(cell(s.Name), cell(s.Text()), cell(change), cell(s.Origin()))
		}
		return table.Write(w, screen.Look{})
	})
}

func newReload(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running service read its configuration again",
		Long: `Makes the running service read its configuration files again, as SIGHUP does, and prints
what has changed. Limits and what selects servers hold from then on. Nothing restarts:
rollouts go on, and halts and pauses stay. Settings that need a restart are named, and
keep their old values. A file with an error changes nothing.`,
		Example: `  ebpf-upgrader reload
  systemctl reload ebpf-upgrader`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(cmd.Context(), func(c *control.Client) error { return a.reload(cmd.Context(), c) })
		},
	}
	a.opts.use(cmd, clientFlags, "output")
	return cmd
}

func (a *app) reload(ctx context.Context, c *control.Client) error {
	done, err := c.Reload(ctx)
	switch {
	case errors.Is(err, control.ErrConfig):
		return exitWith(exitUsage, err)
	case err != nil:
		return err
	case a.opts.output == "json":
		return printJSON(a.stdout, done)
	}
	lines := []string{"reloaded: nothing has changed"}
	if len(done.Changed) > 0 {
		lines = []string{"reloaded:"}
	} else if len(done.Restart) > 0 {
		lines = nil
	}
	for _, c := range done.Changed {
		lines = append(lines, "  "+c.String())
	}
	if len(done.Restart) > 0 {
		lines = append(lines, "kept until a restart:")
	}
	for _, c := range done.Restart {
		lines = append(lines, "  "+c.String())
	}
	return a.printLine(lines...)
}
