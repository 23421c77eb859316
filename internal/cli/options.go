// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// options are the values of all flags. No command has all of them.
type options struct {
	// installPaths are absolute once they were checked.
	installPaths []string
	source       string
	output       string
	self         int32
	names        []string
	subcommand   string
	variable     string
	signal       string
	settle       time.Duration
	maxEntries   uint32
	ringBytes    uint32
	scanEvery    time.Duration
	auditEvery   time.Duration
	gate         string
	dryRun       bool
	all          bool
	limits       rollout.Limits
	quiet        time.Duration
	socket       string
	runDir       string
	stateDir     string
	metrics      string
	noService    bool
	wait         bool
	forgetAfter  time.Duration
	maxPerUser   int
	maxInstalls  int
	users        []string
	selection    selector.Selection
}

// installPath is the only one, for commands that take no more; empty if there is none.
func (o *options) installPath() string {
	if len(o.installPaths) == 0 {
		return ""
	}
	return o.installPaths[0]
}

// addInstallPath adds the flag for a command that takes one.
func (o *options) addInstallPath(f *pflag.FlagSet) {
	f.StringArrayVar(&o.installPaths, "install-path", nil, "the installed binary, e.g. /usr/local/bin/rag-rat")
}

// addInstallPaths adds the flag for a command that takes any number.
func (o *options) addInstallPaths(f *pflag.FlagSet) {
	f.StringArrayVar(&o.installPaths, "install-path", nil, "an installed binary, any number of times (default: those that the servers name)")
}

// addSelection adds the flags that select servers.
func (o *options) addSelection(f *pflag.FlagSet) {
	f.StringArrayVar(&o.users, "user", nil, "only servers of this user, by name or number; any number of times")
	f.StringArrayVar(&o.selection.Containers, "container", nil, "only servers in this container, by the beginning of its id; any number of times")
	f.BoolVar(&o.selection.NoContainers, "no-containers", false, "only servers outside of containers")
}

func (o *options) addSource(f *pflag.FlagSet) {
	f.StringVar(&o.source, "source", "auto", "how servers are found: bpf, proc (a scan of /proc), or auto (bpf if it can be used)")
	f.Uint32Var(&o.maxEntries, "max-entries", 32768, "how many servers the kernel's map holds (bpf)")
}

func (o *options) addRule(f *pflag.FlagSet) {
	f.StringArrayVar(&o.names, "name", nil, "a name of the servers, the last part of argv[0], any number of times (default: the file name of each install path, or "+defaultName+")")
	f.StringVar(&o.subcommand, "subcommand", "mcp", "the argument that makes a process a server")
	f.StringVar(&o.variable, "env", "RAG_RAT_UPGRADE_BIN", "the variable that names what a server execs when it is signalled")
	f.StringVar(&o.signal, "signal", "SIGUSR1", "the signal that makes a server upgrade")
}

func (o *options) addSelf(f *pflag.FlagSet) {
	f.Int32Var(&o.self, "self", int32(os.Getpid()), "the process to be signalled last (default this program)")
	f.Lookup("self").DefValue = "0" // keeps this run's number out of help and manual pages
}

// defaultQuiet is shorter than the pause of a client that calls every 0.3 s by more than an exec takes.
const defaultQuiet = 100 * time.Millisecond

// defaultSettle has the canary exec within half a second of the rename. The servers' own triggers gather events for that long,
// so a halt costs one walk over /proc of each instead of two (docs/RAGRAT.md).
const defaultSettle = 200 * time.Millisecond

func (o *options) addSettle(f *pflag.FlagSet) {
	f.DurationVar(&o.settle, "settle", defaultSettle, "how long a new binary must stand unchanged")
}

// addLimits adds the flags of a rollout. canary is how many servers go alone by default.
func (o *options) addLimits(f *pflag.FlagSet, canary int) {
	o.limits = rollout.DefaultLimits()
	l := &o.limits
	f.IntVar(&l.Canary, "canary", canary, "how many servers of a group are upgraded alone, before its others")
	f.DurationVar(&l.CanaryTimeout, "canary-timeout", l.CanaryTimeout, "how long the next canary waits for a canary that neither execs nor ends")
	f.DurationVar(&l.GroupHold, "group-hold", l.GroupHold, "how long a canary must be armed before the others that share its index follow")
	f.DurationVar(&l.Hold, "hold", l.Hold, "how long a server must live after it was armed to count as upgraded, and before other groups of its user follow")
	f.DurationVar(&o.quiet, "quiet", defaultQuiet, "how long a server must be idle before it is signalled, so that no request is lost (0: signal busy servers too)")
	f.DurationVar(&l.QuietWithin, "quiet-within", l.QuietWithin, "how long the signal of a busy server waits")
	f.DurationVar(&l.ConfirmTimeout, "confirm-timeout", l.ConfirmTimeout, "how long after the signal the exec must come")
	f.DurationVar(&l.RetryAfter, "retry-after", l.RetryAfter, "time between two signals to a server that stays on its binary")
	f.IntVar(&l.MaxAttempts, "max-attempts", l.MaxAttempts, "how many signals a server that stays on its binary gets for one install")
	f.Var(&l.InFlight, "max-in-flight", "how many servers may upgrade at a time: a number, or a share as in 10%")
	f.IntVar(&l.MaxFailures, "max-failures", l.MaxFailures, "how many deaths halt the rollout for a user")
}

func (o *options) addSocket(f *pflag.FlagSet) {
	f.StringVar(&o.socket, "socket", "", "the service's control socket")
	f.Lookup("socket").DefValue = "control.sock in the --run-dir"
}

func (o *options) addRunDir(f *pflag.FlagSet) {
	f.StringVar(&o.runDir, "run-dir", "", "directory of the locks, the control socket and the journal, which need not survive a reboot")
	f.Lookup("run-dir").DefValue = "/run/ebpf-upgrader or /run/user/UID/ebpf-upgrader"
}

func (o *options) addStateDir(f *pflag.FlagSet) {
	f.StringVar(&o.stateDir, "state-dir", "", "directory of what must survive a reboot: an operator's pause")
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

// check rejects values that the flags do not allow. A flag that the command does not have is empty.
func (o *options) check() error {
	words := []struct {
		flag, value string
		allowed     []string
	}{
		{"source", o.source, []string{"auto", "bpf", "proc"}},
		{"output", o.output, []string{"table", "json"}},
		{"gate", o.gate, []string{"auto", "on", "off"}},
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
	case o.maxPerUser < 0:
		return usageError("--max-per-user %d: must not be negative", o.maxPerUser)
	case o.maxInstalls < 0:
		return usageError("--max-installs-per-user %d: must not be negative", o.maxInstalls)
	case o.ringBytes != 0 && (o.ringBytes&(o.ringBytes-1) != 0 || int(o.ringBytes) < os.Getpagesize()):
		return usageError("--ring-bytes %d: must be a power of two, and %d at least", o.ringBytes, os.Getpagesize())
	case o.forgetAfter < 0:
		return usageError("--forget-after %s: must not be negative", o.forgetAfter)
	case o.selection.NoContainers && len(o.selection.Containers) > 0:
		return usageError("--container and --no-containers do not go together")
	case strings.ContainsAny(o.variable, "=\x00"):
		return usageError("--env %q: must be the name of a variable", o.variable)
	case len(o.socket) > longestSocket:
		return usageError("--socket %q: must not be longer than %d bytes", o.socket, longestSocket)
	case o.socket == "" && len(o.runDir) > longestSocket-len("/control.sock"):
		return usageError("--run-dir %q: must not be longer than %d bytes", o.runDir, longestSocket-len("/control.sock"))
	}
	if err := o.checkLimits(); err != nil {
		return err
	}
	return errors.Join(o.checkInstallPaths(), o.checkNames(), o.checkUsers())
}

// defaultName is the name of the servers that this program is made for.
const defaultName = "rag-rat"

// checkNames takes the default from the install paths.
func (o *options) checkNames() error {
	for _, name := range o.names {
		if strings.ContainsAny(name, "/\x00") || name == "" || name == "." || name == ".." {
			return usageError("--name %q: must be a file name", name)
		}
	}
	if len(o.names) > selector.MaxNames {
		return usageError("--name: %d are too many: give at most %d", len(o.names), selector.MaxNames)
	}
	if len(o.names) > 0 {
		return nil
	}
	for _, path := range o.installPaths {
		if name, err := selector.NameOf(path); err == nil && !slices.Contains(o.names, name) {
			o.names = append(o.names, name)
		}
	}
	switch {
	case len(o.installPaths) == 0:
		o.names = []string{defaultName}
	case len(o.names) > selector.MaxNames:
		return usageError("--install-path: the paths have more than %d different file names: give --name", selector.MaxNames)
	}
	return nil
}

// checkUsers makes numbers of the users' names.
func (o *options) checkUsers() error {
	for _, name := range o.users {
		number := name
		if u, err := user.Lookup(name); err == nil {
			number = u.Uid
		}
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return usageError("--user %q: no such user", name)
		}
		o.selection.Users = append(o.selection.Users, uint32(uid))
	}
	return nil
}

// longestSocket is UNIX_PATH_MAX of include/uapi/linux/un.h without the final NUL.
const longestSocket = 107

// checkLimits checks nothing for commands that make no rollout.
func (o *options) checkLimits() error {
	l := o.limits
	if l == (rollout.Limits{}) {
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
	case l.GroupHold < 0:
		return usageError("--group-hold %s: must not be negative", l.GroupHold)
	case l.Hold < 0:
		return usageError("--hold %s: must not be negative", l.Hold)
	case o.quiet < 0:
		return usageError("--quiet %s: must not be negative", o.quiet)
	case l.QuietWithin < 0:
		return usageError("--quiet-within %s: must not be negative", l.QuietWithin)
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

// checkInstallPaths makes them absolute.
func (o *options) checkInstallPaths() error {
	for i, path := range o.installPaths {
		if strings.ContainsRune(path, 0) {
			return usageError("--install-path %q: must not contain a NUL", path)
		}
		if path == "" && len(o.installPaths) == 1 {
			o.installPaths = nil // as if it had not been given
			return nil
		}
		if path == "" {
			return usageError("--install-path %q: must not be empty", path)
		}
		if !filepath.IsAbs(path) {
			here, err := os.Getwd()
			if err != nil {
				return fmt.Errorf("resolve --install-path %q: %w", path, err)
			}
			// Not cleaned: "link/.." is not the same as nothing.
			o.installPaths[i] = here + "/" + path
		}
		if info, err := os.Stat(o.installPaths[i]); err == nil && info.IsDir() && hasName(path) {
			return usageError("--install-path %q is a directory: name the binary in it", o.installPaths[i])
		}
	}
	return nil
}

// hasName reports whether a path has a file name; each command says what it does without.
func hasName(path string) bool {
	_, err := selector.NameOf(path)
	return err == nil
}

// installProblem says why there is nothing that servers could be compared with, or nothing.
func (o *options) installProblem() string {
	if len(o.installPaths) == 0 {
		return "no install path"
	}
	for _, path := range o.installPaths {
		if !hasName(path) {
			return fmt.Sprintf("install path %q has no file name", path)
		}
	}
	return ""
}
