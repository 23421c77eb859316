// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// fleetUser is who the servers run as: nobody else's are touched.
const fleetUser = 64999

// member is one server, and what it would exec.
type member struct {
	*testfleet.Server
	install   *install
	behaviour testfleet.Behaviour
}

// fleet keeps so many servers alive.
type fleet struct {
	server   string // a good program
	installs []*install

	mu sync.Mutex // guards the rest
	// living and all: the second has those that have ended, too.
	living, all []*member
}

// fill starts servers until there are n.
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

// start starts one: from what is installed, or from an older program, which makes it outdated at once.
func (f *fleet) start(r *rand.Rand) error {
	in := f.installs[r.IntN(len(f.installs))]
	path := in.path()
	o := testfleet.Options{
		Binary: f.server, UpgradeBin: &path, Behaviour: someBehaviour(r),
		Credential: &testfleet.Credential{UID: fleetUser, GID: fleetUser},
	}
	if r.IntN(20) == 0 && !o.Behaviour.Daemonise { // there is no daemon that has nothing to arm for
		o.UpgradeBin = nil
	}
	if r.IntN(3) > 0 && in.now() == good {
		o.Binary = path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := testfleet.Start(ctx, o)
	if err != nil && o.Binary == path { // what is installed may have become another thing meanwhile
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

// someBehaviour is that of a good server in half of all cases.
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
	case 5, 6: // in less time than makes a fork a server (selector.ForkAge)
		return testfleet.Behaviour{ForkChild: true, ChildExecs: 1 + upTo(4*time.Second)}
	case 7:
		return testfleet.Behaviour{ArmDelay: upTo(2 * time.Second)}
	case 8:
		return testfleet.Behaviour{NeverArm: true}
	case 9:
		return testfleet.Behaviour{Ignore: true}
	case 10:
		return testfleet.Behaviour{AskTwice: true}
	}
	return testfleet.Behaviour{}
}

// some is one of the living by chance, or nil.
func (f *fleet) some(r *rand.Rand) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.living) == 0 {
		return nil
	}
	return f.living[r.IntN(len(f.living))]
}

// bury forgets who has ended among the living.
func (f *fleet) bury() {
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

// everybody is a copy of the living.
func (f *fleet) everybody() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*member(nil), f.living...)
}

// replaceTheDead goes on until ctx ends.
func (f *fleet) replaceTheDead(ctx context.Context, r *rand.Rand, n int) error {
	for pause(ctx, r, 20*time.Millisecond, 60*time.Millisecond) {
		f.bury()
		if err := f.fill(ctx, r, n); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// trouble kills some, ends the sessions of some, and stops some for a while.
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

// awake lets everybody go on who was stopped.
func (f *fleet) awake() {
	for _, m := range f.everybody() {
		_ = m.Signal(unix.SIGCONT)
	}
}

// stop ends all.
func (f *fleet) stop() {
	var wg sync.WaitGroup
	for _, m := range f.everybody() {
		wg.Go(func() { _ = m.Stop() })
	}
	wg.Wait()
}

// upgrades is how often a server of the fleet came through an exec.
func (f *fleet) upgrades() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.all {
		n += m.Generation()
	}
	return n
}

// askedByOthers has other senders ask servers, as their own trigger does, until ctx ends. One in ten does not
// look before whether what is installed is any good: else most deaths would be theirs, and not be judged.
func (f *fleet) askedByOthers(ctx context.Context, r *rand.Rand, program string) error {
	for pause(ctx, r, 0, 400*time.Millisecond) {
		blind := r.IntN(10) == 0
		if m := f.some(r); m != nil && (blind || m.install.now() == good) {
			_ = run(program, strconv.Itoa(int(m.PID())), m.install.path())
		}
	}
	return nil
}

// homes are all who ever were in the fleet, as what they say of themselves.
func (f *fleet) homes() map[life]*home {
	homes := map[life]*home{}
	for _, m := range f.all {
		for _, e := range m.Events() {
			l := life{int32(e.PID), e.StartTime}
			h := homes[l]
			if h == nil && (e.Kind == testfleet.Started || e.Kind == testfleet.Daemonised) {
				homes[l] = &home{
					install: m.install, twice: m.behaviour.AskTwice, daemon: e.Kind == testfleet.Daemonised,
					counted: map[int]int{},
				}
			}
			if h != nil && e.Kind == testfleet.Signalled {
				h.counted[e.Generation]++
			}
		}
	}
	return homes
}
