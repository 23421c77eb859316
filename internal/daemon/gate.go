// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// gate is the kernel program that refuses the servers' own signals. Gate is nil where there is none; reason says why.
type gate struct {
	*tracker.Gate
	reason error
}

var (
	errGateOff  = errors.New(GateOffReason)
	errGateScan = fmt.Errorf("%w: it needs the kernel's tracker, and /proc is scanned", tracker.ErrGateUnavailable)
)

// GateOffReason is why there is no gate where the operator wants none.
const GateOffReason = "off by --gate off"

// WithoutGate is what threatens servers where there is no gate.
const WithoutGate = "the servers' own signals reach all of a user's servers at once: a bad binary may end them all"

// enableGate is called before the tracker is seeded, so that no candidate is tracked without being covered. It fails only
// where the gate is demanded.
func (h *Host) enableGate() error {
	switch {
	case h.cfg.Gate == GateOff:
		h.gate.reason = errGateOff
	case h.tracker == nil:
		h.gate.reason = errGateScan
	default:
		h.gate.Gate, h.gate.reason = h.tracker.EnableGate()
	}
	switch {
	case h.gate.Gate != nil:
		gateActive.to(h.cfg.Log, keyGate.of(h.gate.Hook()))
	case h.cfg.Gate == GateOn:
		return marked{fmt.Errorf("--gate on: %w (see doctor)", h.gate.reason), ErrUnavailable}
	default:
		gateNone.to(h.cfg.Log, keyError.of(h.gate.reason), keyEffect.of(WithoutGate))
	}
	return nil
}

// closed reports whether the gate refuses signals.
func (g gate) closed() bool { return g.Gate != nil && g.Active() }

func (g gate) coversPID(pid selector.PID) (active, covers bool, err error) {
	if !g.closed() {
		return false, false, nil
	}
	covers, err = g.Covers(pid)
	return true, covers, err
}

// end lets every signal pass from now on.
func (g gate) end() error {
	if g.Gate == nil {
		return nil
	}
	return g.Close()
}

// coverage is an observer that takes servers out of the gate that the service does not serve.
type coverage struct {
	controller.Observer
	gate     gate
	refusals *refusals
	// learned says that every install is served that a server names. Only where the operator named the installs is a server
	// of another install left out for good.
	learned bool
	log     *slog.Logger
}

// Round takes the verdicts. The inspection began took ago at most: what has exec'd since stays covered.
func (c coverage) Round(reason api.Reason, r api.Report, took time.Duration) {
	c.Observer.Round(reason, r, took)
	if !c.gate.closed() {
		return
	}
	if err := c.refusals.readNew(); err != nil {
		c.Observer.Trouble(err)
	}
	began := time.Now().Add(-took)
	for i := range r.Servers {
		if err := c.cover(&r.Servers[i], began); err != nil {
			gateCovers.to(c.log, keyPID.of(r.Servers[i].PID), keyError.of(err))
		}
	}
}

func (c coverage) cover(s *api.Server, began time.Time) error {
	if c.serves(s.Verdict) {
		return c.gate.Cover(s.PID)
	}
	return c.gate.Exempt(s.PID, began)
}

func (c coverage) serves(v selector.Verdict) bool {
	switch v {
	case selector.NotOurs, selector.NotMCP, selector.NotSelected:
		return false
	case selector.OtherInstall:
		return c.learned
	default:
		return true
	}
}

// maxRefusals is how many refusals status shows of those that the gate keeps.
const maxRefusals = 16

// status is what the metrics show of the gate: without the latest refusals.
func (g gate) status() (api.Gate, error) {
	if !g.closed() {
		reason := errors.New("ended")
		if g.reason != nil {
			reason = g.reason
		}
		return api.Gate{Reason: reason.Error(), Latest: []api.Refusal{}}, nil
	}
	stats, err := g.Stats()
	return api.Gate{Active: true, Way: g.Hook(), Refused: stats.Refused, Missed: stats.Missed, Latest: []api.Refusal{}}, err
}
