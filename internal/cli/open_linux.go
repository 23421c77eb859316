// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/fallback"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/tracker"
)

// openHost opens /proc, and the source that the options ask for.
func (a *app) openHost(ctx context.Context) (*host, error) {
	h, err := a.attachHost()
	if err != nil {
		return nil, err
	}
	return h.seeded(ctx)
}

// attachHost is openHost without having looked at any process yet. The caller must seed.
func (a *app) attachHost() (*host, error) {
	h, err := a.openProc()
	if err != nil {
		return nil, err
	}
	if a.scanned != nil {
		h.scanned = a.scanned
	}
	return h, a.attachTracker(h)
}

// openHostOnce is openHost for who asks for the candidates once. It scans while the kernel programs are
// loaded, and not after they are attached: a server that execs in between is not found, but execs what is
// installed by then.
func (a *app) openHostOnce(ctx context.Context) (*host, error) {
	h, err := a.openProc()
	if err != nil {
		return nil, err
	}
	h.beginScan(ctx)
	if err := a.attachTracker(h); err != nil {
		return nil, err
	}
	return h.seeded(ctx)
}

// seeded is h after seed, closed when that fails.
func (h *host) seeded(ctx context.Context) (*host, error) {
	if err := h.seed(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// seed has the tracker know who runs already.
func (h *host) seed(ctx context.Context) error {
	if h.tracker == nil {
		return nil
	}
	return h.tracker.Seed(ctx)
}

// openProc opens the host without a tracker.
func (a *app) openProc() (*host, error) {
	sig := unix.SignalNum(a.opts.signal)
	if sig == 0 {
		return nil, usageError("--signal %q: no such signal", a.opts.signal)
	}
	procfs, err := procfs.NewFS("/proc")
	if err != nil {
		return nil, exitWith(exitNoSource, err)
	}
	return &host{
		procfs: procfs, scanner: fallback.New(procfs, a.opts.pattern()),
		signal: sig, scanned: func(time.Duration) {},
	}, nil
}

// attachTracker closes h when it fails.
func (a *app) attachTracker(h *host) (err error) {
	if a.opts.source == "proc" {
		return nil
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	h.tracker, err = tracker.Attach(tracker.Config{
		Pattern:    a.opts.pattern(),
		MaxEntries: a.opts.maxEntries,
		RingBytes:  a.opts.ringBytes,
		Seed:       h.scan,
		Signal:     h.signal,
	})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, tracker.ErrUnavailable):
		return err
	case a.opts.source == "bpf":
		return exitWith(exitNoSource, err)
	}
	a.log.Info("scanning /proc", "because", err)
	return nil
}

func (h *host) close() {
	h.closeSource()
	_ = h.procfs.Close()
}

// closeSource leaves /proc open, for those who may still be looking at it.
func (h *host) closeSource() {
	if h.tracker != nil {
		_ = h.tracker.Close() // the program ends, and the kernel with it drops what it held
	}
	if h.begun != nil {
		_, _ = h.begun() // it uses what may be closed now
	}
}
