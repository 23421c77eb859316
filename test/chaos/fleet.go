// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// fleetUser is the user of the servers. The service serves only it and hostileUser.
const fleetUser = 64999

// member is one server with its install.
type member struct {
	*testfleet.Server
	install   *install
	behaviour testfleet.Behaviour
}

// fleet keeps a number of servers alive.
type fleet struct {
	server   string // a good program
	installs []*install

	mu sync.Mutex // guards the rest
	// living has the servers that live. all also has those that have ended.
	living, all []*member
}

// fill starts servers until n live.
func (f *fleet) fill(ctx context.Context, r *rand.Rand, n int) error {
	for ctx.Err() == nil {
		f.mu.Lock()
		lacking := n - len(f.living)
		f.mu.Unlock()
		if lacking <= 0 {
			return nil
		}
		if err := f.start(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// start starts one server, from the installed file or from an older program. The latter is outdated at once.
func (f *fleet) start(r *rand.Rand) error {
	in := f.installs[r.IntN(len(f.installs))]
	path := in.path()
	o := testfleet.Options{
		Binary: f.server, UpgradeBin: &path, Behaviour: someBehaviour(r),
		Credential: &testfleet.Credential{UID: fleetUser, GID: fleetUser}, Enter: in.view.enter,
	}
	if r.IntN(20) == 0 && !o.Behaviour.Daemonise { // a daemon without the variable does not exist
		o.UpgradeBin = nil
	}
	if r.IntN(3) > 0 && in.now() == good {
		o.Binary = path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := testfleet.Start(ctx, o)
	if err != nil && o.Binary == path { // a bad file may have replaced the installed one meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	m := &member{s, in, o.Behaviour}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.living, f.all = append(f.living, m), append(f.all, m)
	return nil
}

// someBehaviour returns a random behaviour. Every second server has no fault.
func someBehaviour(r *rand.Rand) testfleet.Behaviour {
	upTo := func(most time.Duration) testfleet.Duration { return testfleet.Duration(r.Int64N(int64(most))) }
	switch r.IntN(20) {
	case 0, 1:
		return testfleet.Behaviour{Drain: upTo(2 * time.Second)}
	case 2:
		return testfleet.Behaviour{ExecFromMain: true}
	case 3:
		return testfleet.Behaviour{LeaderExits: true}
	case 4:
		return testfleet.Behaviour{Daemonise: true}
	case 5, 6: // before a fork counts as a server (selector.ForkAge)
		return testfleet.Behaviour{ForkChild: true, ChildExecs: 1 + upTo(4*time.Second)}
	case 7:
		return testfleet.Behaviour{ArmDelay: upTo(2 * time.Second)}
	case 8:
		return testfleet.Behaviour{NeverArm: true}
	case 9:
		return testfleet.Behaviour{Ignore: true}
	case 10:
		return testfleet.Behaviour{NeedsTwoSignals: true}
	}
	return testfleet.Behaviour{}
}

// some returns a random living member, or nil.
func (f *fleet) some(r *rand.Rand) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.living) == 0 {
		return nil
	}
	return f.living[r.IntN(len(f.living))]
}

// removeEnded removes ended members from living.
func (f *fleet) removeEnded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.living[:0]
	for _, m := range f.living {
		select {
		case <-m.Exited():
			_ = m.Stop()
		default:
			kept = append(kept, m)
		}
	}
	clear(f.living[len(kept):])
	f.living = kept
}

// snapshot returns a copy of living.
func (f *fleet) snapshot() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*member(nil), f.living...)
}

// replaceEnded starts a server for each ended one until ctx ends.
func (f *fleet) replaceEnded(ctx context.Context, r *rand.Rand, n int) error {
	for pause(ctx, r, 20*time.Millisecond, 60*time.Millisecond) {
		f.removeEnded()
		if err := f.fill(ctx, r, n); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// trouble kills some members, ends the sessions of some, and stops some for a while.
func (f *fleet) trouble(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, 0, 200*time.Millisecond) {
		m := f.some(r)
		if m == nil {
			continue
		}
		switch r.IntN(4) {
		case 0:
			_ = m.Signal(unix.SIGKILL)
		case 1:
			m.CloseStdin()
		default:
			_ = m.Signal(unix.SIGSTOP)
			pause(ctx, r, 0, time.Second)
			_ = m.Signal(unix.SIGCONT)
		}
	}
	return nil
}

// resume continues all stopped members.
func (f *fleet) resume() {
	for _, m := range f.snapshot() {
		_ = m.Signal(unix.SIGCONT)
	}
}

// stop ends all members.
func (f *fleet) stop() {
	var wg sync.WaitGroup
	for _, m := range f.snapshot() {
		wg.Go(func() { _ = m.Stop() })
	}
	wg.Wait()
}

// upgrades returns how many execs the servers have survived.
func (f *fleet) upgrades() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.all {
		n += m.Generation()
	}
	return n
}

// signalledByOthers has other senders signal servers, as their own trigger does, until ctx ends: one server, or at times all of
// its install at once. Nine in ten check the installed file first. Otherwise they would cause most deaths, which are not
// judged.
func (f *fleet) signalledByOthers(ctx context.Context, r *rand.Rand, program string) error {
	for pause(ctx, r, 0, 400*time.Millisecond) {
		blind, isBurst := r.IntN(10) == 0, r.IntN(20) == 0
		chosen := f.some(r)
		if chosen == nil || !blind && chosen.install.now() != good {
			continue
		}
		targets := []*member{chosen}
		if isBurst && !blind {
			targets = slices.DeleteFunc(f.snapshot(), func(m *member) bool { return m.install != chosen.install })
		}
		for _, m := range targets {
			_ = m.install.view.do(func() error { return run(program, strconv.Itoa(int(m.PID())), m.install.path()) })
		}
	}
	return nil
}

// serverInfos returns all processes that were ever in the fleet, by their own reports.
func (f *fleet) serverInfos() map[identity]*serverInfo {
	serverInfos := map[identity]*serverInfo{}
	for _, m := range f.all {
		for _, e := range m.Events() {
			l := identity{int32(e.PID), e.StartTime}
			h := serverInfos[l]
			if h == nil && (e.Kind == testfleet.Started || e.Kind == testfleet.Daemonised) {
				serverInfos[l] = &serverInfo{
					install: m.install, twice: m.behaviour.NeedsTwoSignals, daemon: e.Kind == testfleet.Daemonised,
					counted: map[int]int{},
				}
			}
			if h != nil && e.Kind == testfleet.Signalled {
				h.counted[e.Generation]++
			}
		}
	}
	return serverInfos
}
