// SPDX-License-Identifier: MIT

package controller_test

import (
	"maps"
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// share is the part of the rollout of an image that belongs to one user of the model.
type share struct {
	image selector.Image
	user  uint32
}

// actsModel is what follows from the acts of operators.
type actsModel struct {
	// abandoned has the shares that must not go on. resumed has those that go on with one canary, without a proof since.
	// stillHalted has those that were halted when another user was resumed.
	abandoned, resumed, stillHalted map[share]bool
}

func newActsModel() actsModel {
	return actsModel{make(map[share]bool), make(map[share]bool), make(map[share]bool)}
}

// modelUsers are the users of the model.
var modelUsers = []uint32{0, 1}

// checkActs holds a signal against the acts. p is about to be sent one because of image.
func (m *model) checkActs(p *selector.Process, image selector.Image) {
	switch at := (share{image, p.Credentials.Owner.UID}); {
	case m.abandoned[at]:
		m.broken("%d was sent the signal although its rollout was abandoned", p.PID)
	case m.stillHalted[at]:
		m.broken("%d was sent the signal although only another user was resumed", p.PID)
	}
}

// mostCanaries is how many canaries of a user may be unproven when another goes, plus one.
func (a *actsModel) mostCanaries(image selector.Image, user uint32) int {
	if a.resumed[share{image, user}] {
		return 1
	}
	return 3
}

// noteProof ends that a user goes on with one canary at a time.
func (m *model) noteProof(member rollout.Member) {
	if f := m.fate[member.PID]; f != nil {
		delete(m.resumed, share{f.target, member.UID})
	}
}

func (m *model) resumeAll() { m.resumeOnly("", nil) }

func (m *model) resumeUser() {
	path := append(slices.Clone(m.paths), "")[m.dice(len(m.paths)+1)]
	m.resumeOnly(path, &modelUsers[m.dice(len(modelUsers))])
}

// resumeOnly resumes the rollouts of a path, for one user or for all.
func (m *model) resumeOnly(path string, user *uint32) {
	before, err := m.service.Status(m.ctx)
	if err != nil {
		return
	}
	m.change(func() { // the canary may go before the answer comes
		maps.DeleteFunc(m.stillHalted, func(at share, _ bool) bool { return user == nil || *user == at.user })
	})
	done, err := m.act(m.ctx, api.ActResume, path, user)
	m.note("rollouts %v are resumed, %v", done.Rollouts, err)
	if err != nil { // the next service may not know of it
		return
	}
	m.change(func() {
		for _, r := range before.Rollouts {
			if !slices.Contains(done.Rollouts, r.Number) {
				continue
			}
			for _, h := range r.Halts {
				if at := (share{r.Install.Image, h.UID}); user == nil || *user == h.UID {
					m.resumed[at] = true
				} else {
					m.stillHalted[at] = true
				}
			}
		}
	})
}

// abandonSome abandons the rollout of a path, for one user or for all.
func (m *model) abandonSome() {
	path, user := m.paths[m.dice(len(m.paths))], (*uint32)(nil)
	if n := m.dice(3); n < len(modelUsers) {
		user = &modelUsers[n]
	}
	before, err := m.service.Status(m.ctx)
	if err != nil {
		return
	}
	done, err := m.act(m.ctx, api.ActAbandon, path, user)
	m.note("rollouts %v are abandoned, %v", done.Rollouts, err)
	if err != nil { // the next service may not know of it
		return
	}
	m.change(func() {
		for _, r := range before.Rollouts {
			for _, uid := range modelUsers {
				if slices.Contains(done.Rollouts, r.Number) && (user == nil || *user == uid) {
					m.abandoned[share{r.Install.Image, uid}] = true
				}
			}
		}
	})
}
