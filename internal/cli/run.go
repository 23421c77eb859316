// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/selector"
)

func newRun(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve: watch the binaries, and upgrade outdated servers when a new one lands",
		Long: `Keeps track of the servers of this host, and watches the binary that each names as
its own, in whatever container. Signals every outdated server: at the start, when a
complete new binary is installed, and when an outdated server appears. Of each
install one server goes first, and the others follow when it has upgraded. When it
dies, no other server of that user is signalled. Runs until it is interrupted;
status, events, pause, resume and trigger control it meanwhile.`,
		Example: `  ebpf-upgrader run
  ebpf-upgrader run --user alice --user bob --no-containers
  ebpf-upgrader run --install-path /usr/local/bin/rag-rat --canary 3 --max-in-flight 10%`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd)
		},
	}
	f := cmd.Flags()
	a.opts.use(cmd, ruleFlags, selectionFlags, sourceFlags, rolloutFlags, "install-path self settle retry-after config run-dir socket state-dir")
	f.Lookup("install-path").Usage = "an installed binary, any number of times (default: those that the servers name)"
	f.Lookup("socket").DefValue = "control.sock in the --run-dir"
	a.readFiles = a.fromFiles
	f.StringVar(&a.opts.logLevel, "log-level", "info", "the least level of the log's lines: debug (with each server), info, warn, error")
	f.StringVar(&a.opts.logFormat, "log-format", logAuto, "text, json (a line each), journal (systemd's, with fields), or auto (journal where stderr leads there, text on a terminal, else json)")
	f.StringVar(&a.opts.socketGroup, "socket-group", "", "the group, by name or number, with members that may read about the servers of all users (default: the group of the socket)")
	f.StringArrayVar(&a.opts.stage, "stage", nil, "an install with files that are staged at PATH.next and put in place by activate, or by --fleet; any number of times")
	f.BoolVar(&a.opts.rollsBack, "stage-rollback", false, "put the file before back where a staged one fails")
	a.opts.fleet.addHost(f)
	f.StringVar(&a.opts.metrics, "metrics-listen", "", "also serve /metrics, /healthz, /readyz and /readyz/fleet on this address, e.g. 127.0.0.1:9750")
	f.DurationVar(&a.opts.forgetAfter, "forget-after", controller.DefaultForgetAfter, "how long an install stays watched after the last server that names it; 0: not at all")
	f.IntVar(&a.opts.maxPerUser, "max-per-user", controller.DefaultMaxPerUser, "how many servers of one user are inspected; 0: all")
	f.IntVar(&a.opts.maxInstalls, "max-installs-per-user", controller.DefaultMaxInstallsPerUser, "how many installs are watched for one user; 0: all")
	f.DurationVar(&a.opts.scanEvery, "scan-every", 30*time.Second, "time between scans for new servers (proc)")
	f.Uint32Var(&a.opts.ringBytes, "ring-bytes", 256<<10, "size of the buffer for the kernel's events, a power of two (bpf)")
	f.StringVar(&a.opts.gate, "gate", daemon.GateAuto, "refuse the servers' own signals: auto (where the kernel takes the program), on (or fail), off")
	f.DurationVar(&a.opts.auditEvery, "audit-every", 10*time.Minute, "time between audits of the kernel's map by a scan (bpf)")
	return cmd
}

func (a *app) serve(cmd *cobra.Command) error {
	cfg, err := a.serviceConfig(cmd.Flags())
	if err != nil {
		return err
	}
	if err := a.opts.needSelf(); err != nil {
		return err
	}
	_, args, err := cmd.Root().Find(a.args)
	if err != nil {
		return err
	}
	cfg.Reload = func() (daemon.Config, error) { return a.runConfig(args) }
	if cfg.Log, cfg.LogDropped, err = a.openLog(a.opts.logFormat, cfg.Level); err != nil {
		return err
	}
	cfg.UnknownVariables = unknownVariables(cmd.Root())
	return daemon.Run(cmd.Context(), cfg)
}

// serviceConfig is what the flags of run say, without the log.
func (a *app) serviceConfig(flags *pflag.FlagSet) (daemon.Config, error) {
	if err := a.opts.needServerPaths(); err != nil {
		return daemon.Config{}, err
	}
	cfg, err := a.config()
	if err != nil {
		return cfg, err
	}
	cfg.Chosen = daemon.Chosen{
		Settle: flags.Changed("settle"), GroupHold: flags.Changed("group-hold"),
		Hold: flags.Changed("hold"), QuietWithin: flags.Changed("quiet-within"),
	}
	if cfg.StateDir, err = a.opts.statePath(); err != nil {
		return cfg, err
	}
	if cfg.SocketGroup, err = a.opts.socketGroupID(); err != nil {
		return cfg, err
	}
	cfg.Level = new(slog.LevelVar)
	if err = cfg.Level.UnmarshalText([]byte(a.opts.logLevel)); err != nil {
		return cfg, err
	}
	if cfg.Staging, err = a.opts.staging(flags); err != nil {
		return cfg, err
	}
	cfg.ForgetAfter = max(cfg.ForgetAfter, 1) // in the controller, zero is the default
	if cfg.MaxInstalls == 0 {
		cfg.MaxInstalls = math.MaxInt
	}
	cfg.Settings = a.settings(flags, &cfg)
	return cfg, nil
}

// config is what the flags say. A flag that the command does not have is its zero value.
func (a *app) config() (daemon.Config, error) {
	o := &a.opts
	signal := unix.SignalNum(o.signal)
	if signal == 0 {
		return daemon.Config{}, usageError("--signal %q: no such signal", o.signal)
	}
	return daemon.Config{
		Log: a.log, Rule: o.rule(), Signal: signal, Self: selector.PID(o.self), InstallPaths: o.installPaths,
		Source: o.source, MaxEntries: o.maxEntries, RingBytes: o.ringBytes, Gate: o.gate,
		Settle: o.settle, Quiet: o.quiet, Limits: o.limits,
		ScanEvery: o.scanEvery, AuditEvery: o.auditEvery, ForgetAfter: o.forgetAfter,
		MaxPerUser: o.maxPerUser, MaxInstalls: o.maxInstalls,
		Socket: o.socketPath(), RunDir: o.runPath(), MetricsListen: o.metrics,
		Version: thisBuild().full(), Release: version, Revision: thisBuild().short(), OwnProcess: a.ownProcess,
	}, nil
}

func (o *options) rule() selector.Rule {
	return selector.Rule{
		Pattern:  selector.Pattern{Names: o.names, Subcommand: o.subcommand},
		Variable: o.variable, Signal: o.signal, Selection: o.selection,
	}
}

// needServerPaths rejects install paths that cannot be those of a server. Without any, each server is compared with the
// file that it names itself.
func (o *options) needServerPaths() error {
	for _, path := range o.installPaths {
		if !hasName(path) {
			return usageError("install path %q has no file name: give --install-path PATH", path)
		}
	}
	return nil
}

// needOnePath rejects more than one install path, and one that cannot be that of a server.
func (o *options) needOnePath() error {
	if len(o.installPaths) > 1 {
		return usageError("--install-path: give one: this command compares servers with one binary")
	}
	return o.needServerPaths()
}

// needSelf rejects a number that no process has.
func (o *options) needSelf() error {
	if err := unix.Kill(int(o.self), 0); errors.Is(err, unix.ESRCH) {
		return usageError("--self %d: no such process", o.self)
	}
	return nil
}

// errInterrupted is the error of a command that was interrupted.
var errInterrupted = errors.New("interrupted")
