// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/selector"
)

// fleetUser is who the servers run as: nobody else's are touched.
const fleetUser = 64999

// member is one server, and what it would exec.
type member struct {
	*testfleet.Server
	install *install
	// deaf is one that does nothing when it is asked.
	deaf bool
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
	if r.IntN(20) == 0 {
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
	m := &member{s, in, o.Behaviour.Ignore}
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

// behind says who is armed, could upgrade, and does not run what is installed.
func (f *fleet) behind() (names []string) {
	f.bury()
	for _, m := range f.everybody() {
		if runs, installed, differ := m.images(); differ && m.armed() {
			names = append(names, fmt.Sprintf("%d, which runs %s of generation %d, and not %s at %s",
				m.PID(), runs, m.Generation(), installed, m.install.path()))
		}
	}
	return names
}

// outdated is how many do not run what is installed, for whatever reason.
func (f *fleet) outdated() (n int) {
	for _, m := range f.everybody() {
		if _, _, differ := m.images(); differ {
			n++
		}
	}
	return n
}

// images are what the server runs, and what it would exec. Those that are not there do not differ.
func (m *member) images() (runs, installed selector.Image, differ bool) {
	installed, err := m.install.image()
	if err != nil {
		return runs, installed, false
	}
	runs, err = imageAt("/proc/" + m.PID().String() + "/exe")
	return runs, installed, err == nil && runs != installed
}

// named is how many processes there are that call themselves servers.
func named() (n int) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		if looksLikeServer(process) {
			n++
		}
	}
	return n
}

// looksLikeServer asks all threads: the main thread may have ended.
func looksLikeServer(process string) bool {
	threads, _ := filepath.Glob(process + "/task/*/cmdline")
	for _, path := range threads {
		cmdline, _ := os.ReadFile(path)
		if args := strings.Split(string(cmdline), "\x00"); filepath.Base(args[0]) == testfleet.Name && slices.Contains(args, "mcp") {
			return true
		}
	}
	return false
}

// armed says whether the server has its handler in this generation and will upgrade when asked.
func (m *member) armed() bool {
	armed := false
	for _, e := range m.Events() {
		switch e.Kind {
		case testfleet.Started:
			armed = false
		case testfleet.Armed:
			armed = true
		}
	}
	return armed && !m.deaf
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

// askedByOthers has other senders ask servers, as their own trigger does, until ctx ends.
func (f *fleet) askedByOthers(ctx context.Context, r *rand.Rand, program string) error {
	for pause(ctx, r, 0, 400*time.Millisecond) {
		if m := f.some(r); m != nil {
			_ = run(program, strconv.Itoa(int(m.PID())), m.install.path())
		}
	}
	return nil
}
