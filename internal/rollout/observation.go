// SPDX-License-Identifier: MIT

package rollout

import (
	"time"

	"ebpf-upgrader/selector"
)

// observation is the inspection of a member, and the verdict on it.
type observation struct {
	*ledger
	member   *Member
	process  selector.Process
	decision selector.Decision
	now      time.Time
}

// unsignalled takes the verdict on a server that was not signalled.
func (o observation) unsignalled() {
	m := o.member
	isChanged := m.Verdict != o.decision.Verdict
	m.setVerdict(o.decision)
	switch {
	case o.decision.Verdict == selector.Outdated:
		o.step(m, FoundOutdated, o.now)
	case o.decision.Stale && m.State == Skipped && isChanged:
		o.cfg.Moved(*m, Skipped)
	case o.decision.Stale && (m.State != None || !o.isOfNextFile()):
		o.step(m, Rejected, o.now)
	default:
		o.step(m, FoundCurrent, o.now)
	}
}

// isOfNextFile reports whether the verdict is about a file that is landing: the next rollout takes the server.
func (o observation) isOfNextFile() bool {
	return o.decision.Verdict == selector.UnreadyInstall && o.process.Target.Known() && o.process.Target.Image != o.install.Image
}

// signalled takes the inspection of a server that was signalled. A changed image means an exec, even without an
// event.
func (o observation) signalled() {
	m := o.member
	switch {
	case m.isReplaced(o.process):
		o.step(m, Execed, o.now)
		o.settling()
	case m.State == Signalled && o.now.Sub(m.SignalledAt) >= o.cfg.Limits.ConfirmTimeout:
		m.setVerdict(o.decision)
		if m.Attempts >= o.cfg.Limits.MaxAttempts {
			o.step(m, Exhausted, o.now)
		} else {
			o.step(m, Late, o.now)
		}
	case m.State != Signalled && o.decision.Verdict == selector.UpToDate:
		o.step(m, FoundCurrent, o.now)
	case m.State == TimedOut && o.decision.Verdict == selector.Outdated && o.now.Sub(m.SignalledAt) >= o.cfg.Limits.RetryAfter:
		o.step(m, FoundOutdated, o.now)
	}
}

// settling takes the inspection of a server that has exec'd after its signal. It is armed when it runs the
// installed image and has a handler again.
func (o observation) settling() {
	m := o.member
	if !o.process.Image.Known() {
		o.checkOverdue(m, o.now)
		return
	}
	isInstalled := o.process.Image == o.install.Image || o.install.Script && (m.execed || m.isReplaced(o.process))
	isServer := o.decision.Verdict != selector.NotOurs && o.decision.Verdict != selector.NotMCP
	switch {
	case !isInstalled && isServer:
		m.setVerdict(o.decision)
		m.Ran, m.Detail = o.process.Image, "exec'd another file than the installed one"
		o.step(m, ExecedOther, o.now)
	case !isServer || !o.process.Catches || o.process.MidExec:
		o.setArmed(m, time.Time{})
		o.checkOverdue(m, o.now)
	default:
		m.setVerdict(o.decision)
		if m.ArmedAt.IsZero() {
			o.setArmed(m, o.now)
		}
		if o.now.Sub(m.ArmedAt) >= o.cfg.Limits.Hold {
			m.Ran = o.process.Image
			o.step(m, Lived, o.now)
		}
	}
}
