// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

// gate is the kernel program that refuses the servers' own signals. Gate is nil where there is none, and why says why.
type gate struct {
	*tracker.Gate
	why error
}

// The values of --gate.
const (
	gateAuto = "auto"
	gateOn   = "on"
	gateOff  = "off"
)

var (
	errGateOff  = errors.New("off by --gate off")
	errGateScan = fmt.Errorf("%w: it needs the kernel's tracker, and /proc is scanned", tracker.ErrGateUnavailable)
)

// withoutGate is what protects servers where there is no gate.
const withoutGate = "the servers' own signals reach all of a user's servers at once: a bad binary may end them all"

// enableGate is called before the tracker is seeded, so that no candidate is tracked without being covered. It fails only
// where the gate is demanded.
func (a *app) enableGate(h *host) error {
	switch {
	case a.opts.gate == gateOff:
		h.gate.why = errGateOff
	case h.tracker == nil:
		h.gate.why = errGateScan
	default:
		h.gate.Gate, h.gate.why = h.tracker.EnableGate()
	}
	switch {
	case h.gate.Gate != nil:
		a.log.Info("gate active", "way", h.gate.Hook())
	case a.opts.gate == gateOn:
		return exitWith(exitNoSource, fmt.Errorf("--gate on: %w (see doctor)", h.gate.why))
	default:
		a.log.Warn("no gate", "because", h.gate.why, "left", withoutGate)
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

// keeper is an observer that takes out of the gate what the service does not serve. learned says that every install is
// served that a server names: only where the operator named them is a server of another one left out for good.
type keeper struct {
	controller.Observer
	gate gate
	// refused is told of what the gate counts.
	refused *refusals
	learned bool
	trouble func(error)
}

// Round looks at the verdicts. The look began took ago at most: what has exec'd since stays covered.
func (k keeper) Round(reason controller.Reason, r controller.Report, took time.Duration) {
	k.Observer.Round(reason, r, took)
	if !k.gate.closed() {
		return
	}
	if err := k.refused.look(); err != nil {
		k.Observer.Trouble(err)
	}
	began := time.Now().Add(-took)
	for i := range r.Servers {
		if err := k.keep(&r.Servers[i], began); err != nil {
			k.trouble(fmt.Errorf("take %d out of the gate: %w", r.Servers[i].PID, err))
		}
	}
}

func (k keeper) keep(s *controller.Server, began time.Time) error {
	if k.serves(s.Verdict) {
		return k.gate.Cover(s.PID)
	}
	return k.gate.Exempt(s.PID, began)
}

func (k keeper) serves(v selector.Verdict) bool {
	switch v {
	case selector.NotOurs, selector.NotMCP, selector.NotSelected:
		return false
	case selector.OtherInstall:
		return k.learned
	default:
		return true
	}
}

// mostRefusals are shown of those that the gate keeps.
const mostRefusals = 16

// gateStatus reads what status shows of the gate.
func (h *host) gateStatus() (control.Gate, error) {
	if !h.gate.closed() {
		why := errors.New("ended")
		if h.gate.why != nil {
			why = h.gate.why
		}
		return control.Gate{Reason: why.Error(), Latest: []control.Refusal{}}, nil
	}
	stats, err := h.gate.Stats()
	refusals, err2 := h.refusals.read()
	g := control.Gate{Active: true, Way: h.gate.Hook(), Refused: stats.Refused, Missed: stats.Missed, Latest: []control.Refusal{}}
	g.Latest = append(g.Latest, refusals[:min(len(refusals), mostRefusals)]...)
	return g, errors.Join(err, err2)
}

// gateCounts reads what the metrics show of it.
func (h *host) gateCounts() (metrics.Gate, error) {
	if !h.gate.closed() {
		return metrics.Gate{}, nil
	}
	stats, err := h.gate.Stats()
	return metrics.Gate{Active: true, Refused: stats.Refused, Missed: stats.Missed}, err
}
