// SPDX-License-Identifier: MIT

package controller_test

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// fate is what became of a server of the model since it was sent the signal by us, or execs by itself. It knows the truth,
// of which the service sees a part, later.
type fate struct {
	group  rollout.Group
	target selector.Image
	path   string
	sent   time.Time
	// runs is what it exec'd then, when, and when it was armed; zero: not yet.
	runs     selector.Image
	at       time.Time
	armed    time.Time
	isExeced bool
	// isGone says that it has ended, of which the service is yet to be told.
	isGone bool
}

func (m *model) fateOf(p *selector.Process) *fate {
	f := m.fate[p.PID]
	if f == nil {
		f = &fate{group: rollout.GroupOf(*p)}
		m.fate[p.PID] = f
	}
	return f
}

func (f *fate) execed(image selector.Image) {
	f.runs, f.at, f.armed, f.isExeced = image, time.Now(), time.Time{}, true
}

// hasJustExeced reports whether the service may not know yet that the server was armed: its event waits for a second at
// most, and the inspection follows.
func (f *fate) hasJustExeced() bool {
	return f != nil && f.isExeced && time.Since(f.at) < 2*time.Second
}

// isSurprise reports whether a server that timed out has exec'd after all, of which the service may not know yet.
func (f *fate) isSurprise(l rollout.Limits) bool {
	return f.isExeced && f.at.Sub(f.sent) >= l.ConfirmTimeout-2*time.Second && f.hasJustExeced()
}

// proves reports whether a server has proven the image for its group.
func (f *fate) proves(image selector.Image, hold time.Duration) bool {
	return f.runs == image && !f.armed.IsZero() && time.Since(f.armed) >= hold
}

// checkCanary holds a signal against what a group has to show before. p is about to be sent one because of image.
func (m *model) checkCanary(p *selector.Process, image selector.Image) {
	group, unproven := rollout.GroupOf(*p), 0
	proven := map[rollout.Group]bool{}
	isUserProven, isUnderWay := false, false
	for _, f := range m.fate {
		if f.group.User != group.User {
			continue
		}
		proven[f.group] = proven[f.group] || f.proves(image, m.limits.GroupHold)
		isUserProven = isUserProven || f.proves(image, m.limits.Hold)
		isUnderWay = isUnderWay || !f.isGone && !f.isSurprise(m.limits) && f.group != group && f.target == image && m.files[f.path].Image == image && f.runs == image && !f.proves(image, m.limits.Hold)
	}
	if proven[group] || m.proven[image] != nil && m.proven[image][group] {
		m.remember(image, group)
		return
	}
	for _, f := range m.fate {
		isOpen := proven[f.group] || m.proven[image] != nil && m.proven[image][f.group]
		if f.group.User != group.User || f.target != image || m.files[f.path].Image != image || f.isExeced || f.isGone || isOpen ||
			time.Since(f.sent) >= m.limits.ConfirmTimeout {
			continue
		}
		unproven++
		if time.Since(f.sent) < m.limits.CanaryTimeout {
			m.broken("%d goes beside a canary of its user that was sent the signal %s ago", p.PID, time.Since(f.sent))
		}
	}
	switch {
	case unproven >= m.mostCanaries(image, group.User):
		m.broken("%d goes beside %d canaries of its user that are unproven", p.PID, unproven)
	case isUnderWay && !isUserProven && !m.lived[image][group.User]:
		m.broken("%d goes while a canary of another group of its user has not lived for the hold time", p.PID)
	}
}

// remember keeps that a group was open: what has proven it may have ended since.
func (m *model) remember(image selector.Image, group rollout.Group) {
	if m.proven[image] == nil {
		m.proven[image] = map[rollout.Group]bool{}
	}
	m.proven[image][group] = true
}

// noteLived keeps that a server was upgraded: it may have ended when the next group goes. It is held against the truth.
func (m *model) noteLived(member rollout.Member) {
	f, p := m.fate[member.PID], m.processes[member.PID]
	if f == nil || p == nil || p.StartTime != member.StartTime {
		return // it has ended since
	}
	if !f.proves(f.runs, m.limits.Hold) {
		m.broken("%d is upgraded although it has not lived for the hold time after it was armed", member.PID)
	}
	if m.lived[f.runs] == nil {
		m.lived[f.runs] = map[uint32]bool{}
	}
	m.lived[f.runs][member.UID] = true
	m.remember(f.runs, f.group)
}
