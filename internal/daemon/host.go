// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/caps"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// Host is this machine: its processes, and the source of candidates. Its methods but Close may be called concurrently.
type Host struct {
	cfg     Config
	procfs  *procfs.FS
	scanner *fallback.Scanner
	// tracker is nil where the scan is the source.
	tracker *tracker.Tracker
	gate    gate
	// untracked is why there is no tracker although one was wanted; nil if none was.
	untracked error
	// trackerEnded says that the tracker reports no event any more.
	trackerEnded atomic.Bool
	// scanned receives the duration of each scan.
	scanned func(time.Duration)
	// begun waits for a scan that has begun already; nil if none has.
	begun func() ([]selector.PID, error)
	// learn, if set, receives each inspected process.
	learn func(selector.Process)
	// held is the lock of the service; nil where no service runs.
	held *lock.Lock
}

// OpenHost opens /proc and the source that cfg names, and seeds the source. The caller must close the host.
func OpenHost(ctx context.Context, cfg Config) (*Host, error) {
	h, err := OpenProc(cfg)
	if err != nil {
		return nil, err
	}
	return h.attached(ctx)
}

// OpenHostOnce is OpenHost for a command that reads the candidates once. It scans while the kernel programs are loaded, and
// not after they are attached: a server that execs in between is not found, but execs what is installed by then.
func OpenHostOnce(ctx context.Context, cfg Config) (*Host, error) {
	h, err := OpenProc(cfg)
	if err != nil {
		return nil, err
	}
	h.beginScan(ctx)
	return h.attached(ctx)
}

// OpenProc opens the host without a source that follows it.
func OpenProc(cfg Config) (*Host, error) {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		return nil, marked{err, ErrUnavailable}
	}
	return &Host{cfg: cfg, procfs: fs, scanner: fallback.New(fs, cfg.Rule.Pattern), scanned: func(time.Duration) {}}, nil
}

// attached attaches the source and seeds it. It closes h when that fails.
func (h *Host) attached(ctx context.Context) (*Host, error) {
	err := h.attachTracker()
	if err == nil {
		err = h.seed(ctx)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// attachTracker leaves h without a tracker where none can be used and none was demanded.
func (h *Host) attachTracker() (err error) {
	if h.cfg.Source == SourceProc {
		return nil
	}
	h.tracker, err = tracker.Attach(tracker.Config{
		Pattern:    h.cfg.Rule.Pattern,
		MaxEntries: h.cfg.MaxEntries,
		RingBytes:  h.cfg.RingBytes,
		Seed:       h.scan,
		Signal:     h.cfg.Signal,
	})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, tracker.ErrUnavailable):
		return err
	case h.cfg.Source == SourceBPF:
		return marked{err, ErrUnavailable}
	}
	h.untracked = err
	sourceScan.to(h.cfg.Log, keyError.of(err))
	return nil
}

// seed records the processes that run already.
func (h *Host) seed(ctx context.Context) error {
	if h.tracker == nil {
		return nil
	}
	return h.tracker.Seed(ctx)
}

// Close ends the source and closes /proc.
func (h *Host) Close() {
	h.closeSource()
	_ = h.procfs.Close()
}

// closeSource leaves /proc open for workers that may still read it.
func (h *Host) closeSource() {
	if h.tracker != nil {
		_ = h.tracker.Close() // the program ends, and the kernel drops what it held
	}
	if h.begun != nil {
		_, _ = h.begun() // it uses what may be closed now
	}
}

// FS is the host's /proc, open until Close.
func (h *Host) FS() *procfs.FS { return h.procfs }

// scan walks over /proc, or takes the walk that has begun.
func (h *Host) scan(ctx context.Context) ([]selector.PID, error) {
	if wait := h.begun; wait != nil {
		h.begun = nil
		return wait()
	}
	return h.walk(ctx)
}

func (h *Host) walk(ctx context.Context) ([]selector.PID, error) {
	start := time.Now()
	pids, err := h.scanner.Candidates(ctx)
	h.scanned(time.Since(start))
	return pids, err
}

// beginScan walks over /proc while the caller does something else. The next scan takes the result.
func (h *Host) beginScan(ctx context.Context) {
	h.begun = sync.OnceValues(func() ([]selector.PID, error) { return h.walk(ctx) })
	go h.begun() //nolint:errcheck // the next scan takes the result
}

// Source is the source in use.
func (h *Host) Source() api.Source {
	if h.tracker != nil {
		return api.SourceBPF
	}
	return api.SourceProc
}

// fellBack reports whether scans stand in for a tracker that was wanted.
func (h *Host) fellBack() bool { return h.untracked != nil || h.trackerEnded.Load() }

// Candidates are the PIDs of all processes that may be servers.
func (h *Host) Candidates(ctx context.Context) ([]selector.PID, error) {
	if h.tracker != nil {
		return h.tracker.Candidates(ctx)
	}
	return h.scan(ctx)
}

// All are the PIDs of all processes.
func (h *Host) All(ctx context.Context) ([]selector.PID, error) { return h.scanner.All(ctx) }

// Inspect reads what rule needs of a process.
func (h *Host) Inspect(pid selector.PID, rule selector.Rule, since time.Time) (selector.Process, error) {
	p, err := h.procfs.Inspect(pid, procfs.Query{
		Pattern:      rule.Pattern,
		Variable:     rule.Variable,
		Signal:       h.cfg.Signal,
		Interpreters: rule.Install.Interpreters,
		Since:        since,
	})
	if err == nil && h.learn != nil {
		h.learn(p)
	}
	return p, err
}

// User is the identity and the owner of a process.
func (h *Host) User(pid selector.PID) (selector.Identity, selector.User, error) {
	return h.procfs.User(pid)
}

// Deliverer inspects and signals the processes of this host.
func (h *Host) Deliverer() *deliver.Deliverer {
	cfg := deliver.Config{
		Rule:       h.cfg.Rule,
		Self:       h.cfg.Self,
		Signal:     h.cfg.Signal,
		Inspector:  h,
		Pin:        h.pin,
		RetryAfter: h.cfg.Limits.RetryAfter,
	}
	if h.tracker != nil && h.tracker.WatchesSignals() {
		cfg.Tracer = h.tracker
	}
	return deliver.New(cfg)
}

// dropCapabilities keeps what the rest of the work needs, once everything is loaded, attached and open.
func (h *Host) dropCapabilities() error {
	if !h.cfg.OwnProcess {
		return nil
	}
	needsTracker := false
	if h.tracker != nil {
		if err := h.tracker.NeedsCapabilities(); err != nil {
			needsTracker = true
			capabilitiesKept.to(h.cfg.Log, keyError.of(err))
		}
	}
	return caps.Keep(func(c caps.Capability) bool { return !c.ForTracker || needsTracker })
}

// HostNamespace is the name of the host's own PID namespace in status.
const HostNamespace = "host"

// PIDNamespace names this program's PID namespace, which limits the processes that it sees: [HostNamespace], or
// "pid:[number]".
func PIDNamespace() string {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return "unknown: " + err.Error()
	case own == tracker.HostPIDNamespace:
		return HostNamespace
	}
	return own
}
