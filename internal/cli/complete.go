// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
)

// completionTimeout limits how long the shell waits for a service, and for a scan, while a user types.
const completionTimeout = 300 * time.Millisecond

// offer lists values with what they are.
type offer func(context.Context, *app) []cobra.Completion

// addCompletions makes the shell offer the values of the flags and arguments of a command. What another function offers
// already stays.
func addCompletions(cmd *cobra.Command, a *app) {
	byFlag := map[string]offer{"user": offerUsers, "container": offerContainers, "self": offerPIDs}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		complete := cobra.NoFileCompletions
		switch f.Name {
		case "install-path":
			complete = completing(a, offerInstalls, cobra.ShellCompDirectiveDefault)
		case "run-dir", "state-dir":
			complete = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
		case "socket", "config":
			return // a file
		}
		if known := wordsOf(f); known != nil {
			complete = cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)
		}
		if list := byFlag[f.Name]; list != nil {
			complete = completing(a, list, cobra.ShellCompDirectiveNoFileComp)
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails where there is one
	})
	switch {
	case cmd.ValidArgsFunction != nil:
	case strings.Contains(cmd.Use, "PID"):
		cmd.ValidArgsFunction = firstOnly(completing(a, offerPIDs, cobra.ShellCompDirectiveNoFileComp))
	case strings.Contains(cmd.Use, "INSTALL"):
		cmd.ValidArgsFunction = firstOnly(completing(a, offerInstalls, cobra.ShellCompDirectiveNoFileComp))
	default:
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// completing offers what begins with what was typed.
func completing(a *app, list offer, directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if fromEnvironment(cmd.Flags(), a.sources) != nil || a.opts.check(cmd.Flags()) != nil {
			return nil, directive
		}
		return slices.DeleteFunc(list(cmd.Context(), a), func(c cobra.Completion) bool { return !strings.HasPrefix(c, typed) }), directive
	}
}

// firstOnly completes one argument.
func firstOnly(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, typed)
	}
}

// offeredServers are those of the service, or where none answers the candidates of a scan with their users.
func offeredServers(ctx context.Context, a *app) []api.Server {
	var servers []api.Server
	asked, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if c, err := a.findService(asked); err == nil {
		known, _ := c.Servers(asked) // none where it has just ended
		for _, s := range known {
			servers = append(servers, s.Server)
		}
		return servers
	}
	ctx, cancel = context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	a.opts.source = daemon.SourceProc
	cfg, err := a.config()
	if err != nil {
		return nil
	}
	h, err := daemon.OpenProc(cfg)
	if err != nil {
		return nil
	}
	defer h.Close()
	pids, _ := h.Candidates(ctx) // nothing can be said while a user types
	for _, pid := range pids {
		var stat unix.Stat_t
		if unix.Stat("/proc/"+pid.String(), &stat) == nil {
			servers = append(servers, api.Server{PID: pid, UID: stat.Uid})
		}
	}
	return servers
}

// offerPIDs shows the user and the working directory of each.
func offerPIDs(ctx context.Context, a *app) []cobra.Completion {
	var pids []cobra.Completion
	for _, s := range offeredServers(ctx, a) {
		what := a.names.of(s.UID)
		if dir, err := os.Readlink("/proc/" + s.PID.String() + "/cwd"); err == nil {
			what += ", " + printable(dir)
		}
		pids = append(pids, cobra.CompletionWithDesc(s.PID.String(), what))
	}
	return pids
}

// offerUsers counts the servers of each.
func offerUsers(ctx context.Context, a *app) []cobra.Completion {
	return byKey(offeredServers(ctx, a), func(s api.Server) string { return a.names.of(s.UID) })
}

func offerContainers(ctx context.Context, a *app) []cobra.Completion {
	return byKey(offeredServers(ctx, a), func(s api.Server) string { return s.Container })
}

// byKey has each key that is not empty, with the number of servers that have it.
func byKey(servers []api.Server, key func(api.Server) string) []cobra.Completion {
	count := make(map[string]int)
	for _, s := range servers {
		count[key(s)]++
	}
	var keys []cobra.Completion
	for _, k := range slices.Sorted(maps.Keys(count)) {
		if isPrintable(k) {
			keys = append(keys, cobra.CompletionWithDesc(k, fmt.Sprintf("servers: %d", count[k])))
		}
	}
	return keys
}

// offerInstalls are those of the service.
func offerInstalls(ctx context.Context, a *app) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := a.findService(ctx)
	if err != nil {
		return nil
	}
	status, err := c.Status(ctx)
	if err != nil {
		return nil
	}
	var paths []cobra.Completion
	for _, i := range status.Installs {
		if path := cobra.CompletionWithDesc(i.Path, string(i.State)); isPrintable(i.Path) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// isPrintable reports whether a shell can take text from a line of completions as it is.
func isPrintable(text string) bool { return text != "" && printable(text) == text }
