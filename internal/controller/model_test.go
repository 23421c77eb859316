// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/quiet"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// model lets chance happen to a world: installs, servers that exec, stay, crash, leave and start, lost
// events, second senders, restarts of the service. Each signal is held against the rules when it is
// sent.
type model struct {
	*world
	t      *testing.T
	chance *rand.Rand

	own   sync.Mutex // guards chance and steps
	steps []string

	ctx  context.Context
	stop func()
	next selector.PID
	ino  uint64
	// asked is for what and when each was sent the last signal of ours; it dies with an exec.
	asked map[selector.PID]time.Time
	// clean are those of which an event tells that their session ended.
	clean map[selector.PID]bool
	// bad are images that crash at the start.
	bad map[selector.Image]bool
	// quiet says that no events are lost any more: a server counts as dead if no event told its end.
	quiet bool
	// halted are the rollouts of which the service told that they halted, and nothing since, by image.
	halted map[selector.Image]bool
	actsModel
	// fate is what became of each since our last signal; see proven_test.go.
	fate map[selector.PID]*fate
	// proven are the groups that were seen to be open, by image, and lived the users with a server that was upgraded.
	proven map[selector.Image]map[rollout.Group]bool
	lived  map[selector.Image]map[uint32]bool
	// busy says of servers since when and until when they do something without a pause; landed is when the file at a path
	// came there.
	busy   map[selector.PID]span
	landed map[string]time.Time
	// paths are what servers may name; there is one where the operator says which.
	paths []string
}

func (m *model) note(format string, args ...any) {
	m.own.Lock()
	defer m.own.Unlock()
	m.steps = append(m.steps, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// dice is a number below n.
func (m *model) dice(n int) int {
	m.own.Lock()
	defer m.own.Unlock()
	return m.chance.IntN(n)
}

func (m *model) fail(format string, args ...any) {
	m.own.Lock()
	steps := slices.Clone(m.steps)
	m.own.Unlock()
	for _, step := range steps {
		m.t.Log(step)
	}
	m.stop()
	m.pass(time.Hour)
	m.t.Fatalf(format, args...)
}

// signalled is called for each signal, with the world locked.
func (m *model) signalled(pid selector.PID) {
	p := m.processes[pid]
	if p == nil {
		return
	}
	install := m.files[p.Path]
	switch {
	case !p.Catches:
		m.broken("%d was sent the signal without a handler", pid)
	case m.halted[install.Image]:
		m.broken("%d was sent the signal although the rollout had halted", pid)
	case install.State != selector.StateReady:
		m.broken("%d was sent the signal although the install is %s", pid, install.State)
	case p.Image == install.Image:
		m.broken("%d was sent the signal although it runs the installed image", pid)
	}
	if at, asked := m.asked[pid]; asked && time.Since(at) < m.limits.RetryAfter {
		m.broken("%d was sent the signal twice within %s", pid, time.Since(at))
	}
	m.checkCanary(p, install.Image)
	m.checkActs(p, install.Image)
	m.checkQuiet(p)
	m.asked[pid] = time.Now()
	m.fate[pid] = &fate{group: rollout.GroupOf(*p), target: install.Image, path: p.Path, sent: time.Now()}
	m.note("%d is sent the signal", pid)
	go m.react(*p)
}

func (m *model) broken(format string, args ...any) {
	m.note("BROKEN: "+format, args...)
	m.t.Errorf(format, args...)
}

// react is what a server makes of the signal, as chance has it.
// exec is from the signal to the armed server on what is installed then. A second signal does nothing: the first has led
// to an exec since.
// loses is true for every tenth event.
// send tells of an event, or a moment later that one was lost. Every other one says when it was, and some of
// these wait behind others.
func (m *model) Moved(member rollout.Member, from rollout.State) {
	m.world.Moved(member, from)
	m.note("%d: %s -> %s %s (rollout %d)", member.PID, from, member.State, member.Detail, member.Rollout)
	m.change(func() {
		if member.State == rollout.Upgraded {
			m.noteProof(member)
			m.noteLived(member)
		}
		m.checkWaited(member, from)
		if member.State == rollout.Crashed && m.clean[member.PID] {
			m.broken("%d is said to have died (%s) although its session ended", member.PID, member.Detail)
		}
	})
}

func (m *model) Rollout(r rollout.Report) {
	m.world.Rollout(r)
	m.change(func() { m.halted[r.Install.Image] = r.Phase == rollout.PhaseHalted && !r.Superseded })
	m.note("rollout %d is %s: %v", r.Number, r.Phase, r.Servers)
}

// step lets one thing happen.
func (m *model) step() {
	switch m.dice(16) {
	case 0, 1:
		m.land(m.dice(4) == 0)
	case 2:
		m.begin()
	case 3:
		m.leave()
	case 4:
		m.note("the service is started anew")
		m.stop()
		m.change(func() {
			if m.unsaved != nil {
				clear(m.halted) // a halt that was not written is one that the next service does not know of
				m.actsModel = newActsModel()
			}
		})
		m.run()
	case 5:
		m.secondSender()
	case 6:
		m.note("all are resumed")
		m.resumeAll()
	case 10:
		m.resumeUser()
	case 11:
		m.abandonSome()
	case 7, 8:
		m.occupy()
	case 9:
		m.change(func() {
			m.unsaved = map[bool]error{true: errFull}[m.unsaved == nil]
			m.note("the journal can be written: %t", m.unsaved == nil)
		})
	}
	m.pass(time.Duration(m.dice(4000)) * time.Millisecond)
}

func (m *model) land(bad bool) {
	m.ino++
	i := ready(selector.Image{Dev: 1, Ino: m.ino})
	i.Path = m.paths[m.dice(len(m.paths))]
	m.note("%s lands at %s, bad: %t", i.Image, i.Path, bad)
	m.change(func() { m.bad[i.Image], m.landed[i.Path] = bad, time.Now() })
	m.world.land(i)
}

// appear starts a server of any of two users, with any of the installs.
// any is one of the living, or 0.
// secondSender is a server's own trigger: it looks before it sends, too.
func (m *model) run() {
	ctx, cancel := context.WithCancel(context.Background())
	m.change(func() {
		m.events, m.ctx = make(chan selector.Event), ctx
		m.stopped, m.watched = make(chan struct{}), map[registry.Key]bool{}
	})
	cfg := controller.Config{
		Deliverer: m.upgrader(), Source: api.SourceBPF, Limits: m.limits, Lister: m.world, Installs: m.world, Events: m.events,
		ScanEvery: 10 * time.Minute, Observer: m, Journal: newJournal(m.world), Saved: m.saved, Pauses: m.pauses, KeepPauses: m.keepPauses,
		Quiet: quiet.New(m, quietFor),
	}
	if !m.learned {
		cfg.Paths = m.paths
	}
	m.service = controller.New(cfg)
	done := make(chan error)
	go func() { done <- m.service.Run(ctx) }()
	m.stop = func() {
		close(m.stopped)
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("Run: %v", err)
		}
	}
	synctest.Wait()
}

func TestModel_RandomEvents_RulesHold(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			m := &model{
				world: newWorld(), t: t, chance: rand.New(rand.NewPCG(seed, 7)), ino: 20,
				asked: make(map[selector.PID]time.Time), bad: make(map[selector.Image]bool),
				clean: make(map[selector.PID]bool), fate: make(map[selector.PID]*fate),
				proven: make(map[selector.Image]map[rollout.Group]bool), lived: make(map[selector.Image]map[uint32]bool),
				busy: make(map[selector.PID]span), landed: make(map[string]time.Time),
				halted: make(map[selector.Image]bool), actsModel: newActsModel(), paths: []string{usual},
			}
			if m.learned = seed%2 == 1; m.learned {
				m.paths = []string{usual, "/home/a/rag-rat", "/home/b/rag-rat"}
			}
			m.onSignal, m.slowLook = m.signalled, m.readTime
			for i, path := range m.paths { // the last two lead to one file
				m.files[path] = selector.Install{Path: path, State: selector.StateReady, Image: selector.Image{Dev: 1, Ino: m.ino + uint64(min(i, 1))}}
			}
			m.ino++
			for range 6 {
				m.appear()
			}
			m.run()
			for range 40 {
				m.step()
				if t.Failed() {
					m.fail("seed %d", seed)
				}
			}
			m.settle(seed)
			m.stop()
			m.pass(time.Hour) // every goroutine ends
		})
	}
}

// settle lands a good binary and waits: every server must run it, but those that absorb every signal.
func (m *model) settle(seed uint64) {
	m.change(func() { m.quiet, m.unsaved = true, nil })
	m.pass(time.Minute) // what was lost before is told
	for _, path := range m.paths {
		m.ino++
		i := ready(selector.Image{Dev: 1, Ino: m.ino})
		i.Path = path
		m.note("%s lands at %s, and is good", i.Image, path)
		m.world.land(i)
	}
	m.resumeAll()
	m.pass(20 * time.Minute)
	status, err := m.service.Status(m.ctx)
	if err != nil {
		m.fail("seed %d: %v", seed, err)
	}
	for _, r := range status.Rollouts {
		isFailed := r.Phase == rollout.PhaseFailed && r.Deaths > 0 // before the resume
		if !isFailed && (r.Phase != rollout.PhaseComplete || r.Deaths > 0) {
			m.fail("seed %d: after quiet rollout %d is %+v", seed, r.Number, r)
		}
	}
	servers, err := m.service.Servers(m.ctx)
	if err != nil || len(servers) != len(m.processes) {
		m.fail("seed %d: the service knows %d servers of %d, %v", seed, len(servers), len(m.processes), err)
	}
	for _, s := range servers {
		absorbs := s.Rollout != nil && s.Rollout.State == rollout.GaveUp
		p := m.processes[s.PID]
		if install := m.files[p.Path]; p.Image != install.Image && !absorbs {
			m.fail("seed %d: %d runs %s, %s is installed, and the service says %+v", seed, s.PID, p.Image, install.Image, s)
		}
	}
}
