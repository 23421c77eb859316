// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

// options are the flags that commands share. Not every command has every one.
type options struct {
	installPath string
	source      string
	scope       string
	output      string
	self        int32
	name        string
	subcommand  string
	variable    string
	signal      string
	settle      time.Duration
	maxEntries  uint32
	scanEvery   time.Duration
	auditEvery  time.Duration
	dryRun      bool
	all         bool
	limits      upgrade.Limits
	socket      string
	stateDir    string
	metrics     string
	noService   bool
	wait        bool
}

func (o *options) addInstallPath(f *pflag.FlagSet) {
	f.StringVar(&o.installPath, "install-path", "", "the installed binary, e.g. /usr/local/bin/rag-rat")
}

func (o *options) addSource(f *pflag.FlagSet) {
	f.StringVar(&o.source, "source", "auto", "how servers are found: bpf, proc (a scan of /proc), or auto (bpf if it can be used)")
	f.Uint32Var(&o.maxEntries, "max-entries", 65536, "how many servers the kernel's map holds (bpf)")
}

func (o *options) addRule(f *pflag.FlagSet) {
	f.StringVar(&o.scope, "scope", "own", "which servers belong to the install: own (their own variable names it) or any (all of the name)")
	f.StringVar(&o.name, "name", "", "the servers' name, the last part of argv[0] (default: the install path's file name)")
	f.StringVar(&o.subcommand, "subcommand", "mcp", "the argument that makes a process a server")
	f.StringVar(&o.variable, "env", "RAG_RAT_UPGRADE_BIN", "the variable that names what a server execs when it is signalled")
	f.StringVar(&o.signal, "signal", "SIGUSR1", "the signal that makes a server upgrade")
}

func (o *options) addSelf(f *pflag.FlagSet) {
	f.Int32Var(&o.self, "self", int32(os.Getpid()), "the process to be signalled last (default this program)")
	f.Lookup("self").DefValue = "0" // keeps this run's number out of help and manual pages
}

func (o *options) addSettle(f *pflag.FlagSet) {
	f.DurationVar(&o.settle, "settle", 500*time.Millisecond, "how long a new binary must stand unchanged")
}

// addLimits adds the flags of a rollout. canary is how many servers go alone by default.
func (o *options) addLimits(f *pflag.FlagSet, canary int) {
	o.limits = upgrade.DefaultLimits()
	l := &o.limits
	f.IntVar(&l.Canary, "canary", canary, "how many servers are upgraded alone, before all others")
	f.DurationVar(&l.CanaryTimeout, "canary-timeout", l.CanaryTimeout, "how long the others wait for a canary that neither upgrades nor dies")
	f.DurationVar(&l.Hold, "hold", l.Hold, "how long a server must live after its exec to count as upgraded")
	f.DurationVar(&l.ConfirmTimeout, "confirm-timeout", l.ConfirmTimeout, "how long an exec is waited for after the signal")
	f.DurationVar(&l.RetryAfter, "retry-after", l.RetryAfter, "time between two signals to a server that stays as it is")
	f.IntVar(&l.MaxAttempts, "max-attempts", l.MaxAttempts, "how often a server that stays as it is is asked for one install")
	f.Var(&l.InFlight, "max-in-flight", "how many servers are on their way at a time: a number, or a share as in 10%")
	f.IntVar(&l.MaxFailures, "max-failures", l.MaxFailures, "how many deaths halt the rollout")
}

func (o *options) addSocket(f *pflag.FlagSet) {
	f.StringVar(&o.socket, "socket", "", "the service's control socket")
	f.Lookup("socket").DefValue = "control.sock in /run/ebpf-upgrader or $XDG_RUNTIME_DIR/ebpf-upgrader"
}

func (o *options) addStateDir(f *pflag.FlagSet) {
	f.StringVar(&o.stateDir, "state-dir", "", "where the service keeps what must survive it")
	f.Lookup("state-dir").DefValue = "/var/lib/ebpf-upgrader or $XDG_STATE_HOME/ebpf-upgrader"
}

func (o *options) addOutput(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
}

// fromEnvironment sets each flag that was not given from its variable, if there is one.
func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "EBPF_UPGRADER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, set := os.LookupEnv(name)
		if !set || f.Changed || f.Name == "help" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, errors.Unwrap(err)))
		}
	})
	return errors.Join(errs...)
}

// check holds the values of the flags that the command has against what they may be. A flag that
// it does not have is empty.
func (o *options) check() error {
	words := []struct {
		flag, value string
		allowed     []string
	}{
		{"source", o.source, []string{"auto", "bpf", "proc"}},
		{"scope", o.scope, []string{"own", "any"}},
		{"output", o.output, []string{"table", "json"}},
	}
	for _, w := range words {
		if w.value != "" && !slices.Contains(w.allowed, w.value) {
			return usageError("--%s %q: must be one of %s", w.flag, w.value, strings.Join(w.allowed, ", "))
		}
	}
	switch {
	case o.self < 0:
		return usageError("--self %d: must be a process number", o.self)
	case o.settle < 0:
		return usageError("--settle %s: must not be negative", o.settle)
	case strings.ContainsAny(o.name, "/\x00") || o.name == "." || o.name == "..":
		return usageError("--name %q: must be a file name", o.name)
	case strings.ContainsAny(o.variable, "=\x00"):
		return usageError("--env %q: must be the name of a variable", o.variable)
	case len(o.socket) > longestSocket:
		return usageError("--socket %q: must not be longer than %d bytes", o.socket, longestSocket)
	}
	if err := o.checkLimits(); err != nil {
		return err
	}
	return o.checkInstallPath()
}

// longestSocket is UNIX_PATH_MAX of include/uapi/linux/un.h without the final NUL.
const longestSocket = 107

// checkLimits leaves alone the commands that make no rollout.
func (o *options) checkLimits() error {
	l := o.limits
	if l == (upgrade.Limits{}) {
		return nil
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"canary-timeout", l.CanaryTimeout},
		{"confirm-timeout", l.ConfirmTimeout},
		{"retry-after", l.RetryAfter},
	} {
		if d.value <= 0 {
			return usageError("--%s %s: must be more than 0", d.flag, d.value)
		}
	}
	switch {
	case l.Hold < 0:
		return usageError("--hold %s: must not be negative", l.Hold)
	case l.Canary < 0:
		return usageError("--canary %d: must not be negative", l.Canary)
	case l.MaxAttempts < 1:
		return usageError("--max-attempts %d: must be at least 1", l.MaxAttempts)
	case l.MaxFailures < 1:
		return usageError("--max-failures %d: must be at least 1", l.MaxFailures)
	case l.RetryAfter < l.ConfirmTimeout:
		return usageError("--retry-after %s: must not be shorter than --confirm-timeout %s", l.RetryAfter, l.ConfirmTimeout)
	}
	return nil
}

func (o *options) checkInstallPath() error {
	if o.installPath == "" {
		return nil
	}
	if strings.ContainsRune(o.installPath, 0) {
		return usageError("--install-path %q: must not contain a NUL", o.installPath)
	}
	if !filepath.IsAbs(o.installPath) {
		here, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("resolve --install-path %q: %w", o.installPath, err)
		}
		// Not cleaned: "link/.." is not the same as nothing.
		o.installPath = here + "/" + o.installPath
	}
	name, err := selector.NameOf(o.installPath)
	if err != nil {
		return nil //nolint:nilerr // each command says what it does without a name
	}
	if o.name == "" {
		o.name = name
	}
	if info, err := os.Stat(o.installPath); err == nil && info.IsDir() {
		return usageError("--install-path %q is a directory: name the binary in it", o.installPath)
	}
	return nil
}

// installProblem says why there is nothing that servers could be compared with, or nothing.
func (o *options) installProblem() string {
	if o.installPath == "" {
		return "no install path"
	}
	if _, err := selector.NameOf(o.installPath); err != nil {
		return fmt.Sprintf("install path %q has no file name", o.installPath)
	}
	return ""
}
