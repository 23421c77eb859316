// SPDX-License-Identifier: MIT

package cli

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
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
	socketGroup  string
	runDir       string
	stateDir     string
	metrics      string
	timeout      time.Duration
	noService    bool
	noWait       bool
	ifExists     bool
	yes          bool
	reason       string
	config       string
	forgetAfter  time.Duration
	maxPerUser   int
	maxInstalls  int
	logLevel     string
	logFormat    string
	users        []string
	selection    selector.Selection
	stage        []string
	rollsBack    bool
	fleet        fleetFlags
}

// installPath is the only one, for commands that take no more; empty if there is none.
func (o *options) installPath() string {
	if len(o.installPaths) == 0 {
		return ""
	}
	return o.installPaths[0]
}

// The flags of commands that have more than one in common.
const (
	ruleFlags      = "name subcommand env signal"
	selectionFlags = "user container no-containers"
	sourceFlags    = "source max-entries"
	clientFlags    = "run-dir socket timeout"
	// roundFlags are those of the commands that judge servers.
	roundFlags = "install-path self output " + ruleFlags + " " + selectionFlags + " " + sourceFlags
	// rolloutFlags have an effect on a rollout that is followed.
	rolloutFlags = "canary max-in-flight max-failures max-late late-within max-attempts group-hold hold quiet quiet-within canary-timeout confirm-timeout arm-timeout"
	// triggerFlags are those that only trigger has.
	triggerFlags = "dry-run no-wait if-exists no-service"
)

// use gives a command flags by their names, in lists with blanks between them.
func (o *options) use(cmd *cobra.Command, names ...string) {
	known := o.known()
	for name := range strings.FieldsSeq(strings.Join(names, " ")) {
		cmd.Flags().AddFlag(known.Lookup(name))
	}
}

// defaultQuiet is shorter than the pause of a client that calls every 0.3 s by more than an exec takes.
const defaultQuiet = 100 * time.Millisecond

// defaultSettle has the canary exec within half a second of the rename. The servers' own triggers gather events for that long,
// so a halt costs one walk over /proc of each instead of two (docs/RAGRAT.md).
const defaultSettle = 200 * time.Millisecond

// defaultTimeout is longer than an answer takes on a busy machine.
const defaultTimeout = 5 * time.Second

// known has every flag that is not of a single command, and gives each its default.
func (o *options) known() *pflag.FlagSet {
	f := new(pflag.FlagSet)
	f.StringArrayVar(&o.installPaths, "install-path", nil, "the installed binary, e.g. /usr/local/bin/rag-rat")
	f.StringArrayVar(&o.names, "name", nil, "a name of the servers, the last part of argv[0], any number of times (default: the file name of each install path, or "+defaultName+")")
	f.StringVar(&o.subcommand, "subcommand", defaultSubcommand, "the argument that makes a process a server")
	f.StringVar(&o.variable, "env", defaultVariable, "the variable that names what a server execs when it is signalled")
	f.StringVar(&o.signal, "signal", defaultSignal, "the signal that makes a server upgrade: SIGUSR1 or SIGUSR2")
	f.StringArrayVar(&o.users, "user", nil, "only servers of this user, by name or number; any number of times")
	f.StringArrayVar(&o.selection.Containers, "container", nil, "only servers in this container, by the beginning of its id; any number of times")
	f.BoolVar(&o.selection.NoContainers, "no-containers", false, "only servers outside of containers")
	f.Int32Var(&o.self, "self", int32(os.Getpid()), "the process to be signalled last (default this program)")
	f.StringVar(&o.source, "source", "auto", "how servers are found: bpf, proc (a scan of /proc), or auto (bpf if it can be used)")
	f.Uint32Var(&o.maxEntries, "max-entries", 32768, "how many servers the kernel's map holds (bpf)")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")

	f.BoolVar(&o.dryRun, "dry-run", false, "plan, but send nothing")
	f.BoolVar(&o.noWait, "no-wait", false, "hand over to a service, and do not follow the rollout")
	f.BoolVar(&o.ifExists, "if-exists", false, "no failure where nothing is installed at --install-path")
	f.BoolVar(&o.noService, "no-service", false, "fail where a service serves the install, instead of handing over to it")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.StringVar(&o.reason, "reason", "", "why, for status, events and the log")

	o.limits = rollout.DefaultLimits()
	l := &o.limits
	f.DurationVar(&o.settle, "settle", defaultSettle, "how long a new binary must stand unchanged")
	f.IntVar(&l.Canary, "canary", l.Canary, "how many servers of a group are upgraded alone, before its others")
	f.DurationVar(&l.CanaryTimeout, "canary-timeout", l.CanaryTimeout, "how long the next canary waits for a canary that neither execs nor ends")
	f.DurationVar(&l.GroupHold, "group-hold", l.GroupHold, "how long a canary must be armed before the others that share its index follow")
	f.DurationVar(&l.Hold, "hold", l.Hold, "how long a server must live after it was armed to count as upgraded, and before other groups of its user follow")
	f.DurationVar(&o.quiet, "quiet", defaultQuiet, "how long a server must be idle before it is signalled, so that no request is lost (0: signal busy servers too)")
	f.DurationVar(&l.QuietWithin, "quiet-within", l.QuietWithin, "how long the signal of a busy server waits")
	f.DurationVar(&l.ConfirmTimeout, "confirm-timeout", l.ConfirmTimeout, "how long after the signal the exec must come")
	f.DurationVar(&l.ArmTimeout, "arm-timeout", l.ArmTimeout, "how long after its exec a server may take to arm itself, before that halts its group")
	f.DurationVar(&l.RetryAfter, "retry-after", l.RetryAfter, "time between two signals to a server that stays on its binary")
	f.IntVar(&l.MaxAttempts, "max-attempts", l.MaxAttempts, "how many signals a server that stays on its binary gets for one install")
	f.Var(&l.InFlight, "max-in-flight", "how many servers may upgrade at a time: a number, or a share as in 10%")
	f.IntVar(&l.MaxFailures, "max-failures", l.MaxFailures, "how many deaths halt the rollout for a user")
	f.IntVar(&l.MaxLate, "max-late", l.MaxLate, "how many crashes of upgraded servers halt it for a user; 0: none does (bpf)")
	f.DurationVar(&l.LateWithin, "late-within", l.LateWithin, "how long after its upgrade the crash of a server counts (bpf)")

	f.StringVar(&o.socket, "socket", "", "the service's control socket")
	f.StringVar(&o.runDir, "run-dir", "", "directory of the locks, the control socket and the journal, which need not survive a reboot")
	f.StringVar(&o.stateDir, "state-dir", "", "directory of what survives a reboot: an operator's pause, the events and the history")
	f.StringVar(&o.config, "config", "", "the configuration file; its drop-ins are in the folder beside it with .d in place of .toml; an empty path: none")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "how long to wait for an answer of the service; 0: without end")
	for flag, text := range map[string]string{ // instead of this run's number, and of nothing
		"self":      "0",
		"socket":    "control.sock in the --run-dir, else that of your own service, else " + hostSocket,
		"run-dir":   "/run/ebpf-upgrader or /run/user/UID/ebpf-upgrader",
		"state-dir": "/var/lib/ebpf-upgrader or $XDG_STATE_HOME/ebpf-upgrader",
		"config":    "/etc/ebpf-upgrader/config.toml for root, if it exists",
	} {
		f.Lookup(flag).DefValue = text
	}
	return f
}

// widenOutput gives --output a word more, for a command with a table that a narrow terminal cuts.
func widenOutput(f *pflag.FlagSet) {
	output := f.Lookup("output")
	output.Usage = "table, wide (all columns, never cut) or json"
	output.Annotations = map[string][]string{ownWords: {"table", "wide", "json"}}
}

func (o *options) isWide() bool { return o.output == "wide" }
