// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/pidfd"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// host is the machine as the commands see it: its processes, and the source of candidates.
type host struct {
	procfs  *procfs.FS
	scanner *fallback.Scanner
	// tracker is nil where the scan is the source.
	tracker *tracker.Tracker
	gate    gate
	// refusals are what the gate counts.
	refusals *refusals
	signal   syscall.Signal
	// scanned is told how long each scan took.
	scanned func(time.Duration)
	// begun waits for a scan that has begun already; nil is that none has.
	begun func() ([]selector.PID, error)
	// learn, if there is one, is told of each process that was looked at.
	learn func(selector.Process)
}

// scan walks over /proc, or takes the walk that has begun.
func (h *host) scan(ctx context.Context) ([]selector.PID, error) {
	if wait := h.begun; wait != nil {
		h.begun = nil
		return wait()
	}
	return h.walk(ctx)
}

func (h *host) walk(ctx context.Context) ([]selector.PID, error) {
	start := time.Now()
	pids, err := h.scanner.Candidates(ctx)
	h.scanned(time.Since(start))
	return pids, err
}

// beginScan walks over /proc while the caller does something else. The next scan takes it.
func (h *host) beginScan(ctx context.Context) {
	var pids []selector.PID
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		pids, err = h.walk(ctx)
	}()
	h.begun = func() ([]selector.PID, error) {
		<-done
		return pids, err
	}
}

func (h *host) source() controller.Source {
	if h.tracker != nil {
		return controller.SourceBPF
	}
	return controller.SourceProc
}

// Candidates are the PIDs of all processes that may be servers.
func (h *host) Candidates(ctx context.Context) ([]selector.PID, error) {
	if h.tracker != nil {
		return h.tracker.Candidates(ctx)
	}
	return h.scan(ctx)
}

// Unchanged is [procfs.FS.Unchanged].
func (h *host) Unchanged(p selector.Process) bool { return h.procfs.Unchanged(p) }

// Inspect reads what rule asks for.
func (h *host) Inspect(pid selector.PID, rule selector.Rule, since time.Time) (selector.Process, error) {
	p, err := h.procfs.Inspect(pid, procfs.Query{
		Pattern:      rule.Pattern,
		Variable:     rule.Variable,
		Signal:       h.signal,
		Interpreters: rule.Install.Interpreters,
		Since:        since,
	})
	if err == nil && h.learn != nil {
		h.learn(p)
	}
	return p, err
}

// User tells whose a process is.
func (h *host) User(pid selector.PID) (selector.Identity, uint32, error) { return h.procfs.User(pid) }

func pin(pid selector.PID) (controller.Target, error) {
	handle, err := pidfd.Open(pid)
	if err != nil {
		return nil, err
	}
	return handle, nil
}

// upgrader looks at the processes of this host.
func (a *app) upgrader(h *host) *controller.Upgrader {
	cfg := controller.Config{
		Rule:       a.opts.rule(),
		Self:       selector.PID(a.opts.self),
		Signal:     h.signal,
		Source:     h.source(),
		Inspector:  h,
		Pin:        a.pin,
		RetryAfter: a.opts.limits.RetryAfter,
	}
	if h.tracker != nil && h.tracker.WatchesSignals() {
		cfg.Witness = h.tracker
	}
	return controller.New(cfg)
}

func (o *options) pattern() selector.Pattern {
	return selector.Pattern{Names: o.names, Subcommand: o.subcommand}
}

func (o *options) rule() selector.Rule {
	return selector.Rule{Pattern: o.pattern(), Variable: o.variable, Signal: o.signal, Selection: o.selection}
}

// checkedPaths rejects install paths that cannot be those of a server. Without any, each server is compared with the file
// that it names itself.
func (a *app) checkedPaths() error {
	if problem := a.opts.installProblem(); len(a.opts.installPaths) > 0 && problem != "" {
		return usageError("%s: give --install-path PATH", problem)
	}
	return nil
}

// onePath turns down more than one install path.
func (a *app) onePath() error {
	if len(a.opts.installPaths) > 1 {
		return usageError("--install-path: give one: this command compares servers with one binary")
	}
	return nil
}

// needSelf turns down a number that no process has.
func (a *app) needSelf() error {
	if err := unix.Kill(int(a.opts.self), 0); errors.Is(err, unix.ESRCH) {
		return usageError("--self %d: no such process", a.opts.self)
	}
	return nil
}

// errInterrupted is the error of a command that was interrupted.
var errInterrupted = errors.New("interrupted")
