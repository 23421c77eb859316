// SPDX-License-Identifier: MIT

package fleet_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// life is what one host of the model has done.
type life int

const (
	waiting life = iota
	seated
	idle
	done
	failed
)

// model drives the rule with steps in any order and knows what must hold.
type model struct {
	t     *testing.T
	p     fleet.Policy
	s     fleet.State
	now   time.Time
	hosts []life
	// since has the time from which on a wave had its hosts without a break.
	since [2]time.Time
	log   []string
}

const modelHosts = 12

func newModel(t *testing.T) *model {
	return &model{t: t, p: small(), s: fleet.State{Version: 1}, now: begin, hosts: make([]life, modelHosts)}
}

// step does what two bytes say: which act, by which host.
func (m *model) step(act, n int) {
	n %= modelHosts
	h := host(n)
	before := m.failures()
	m.log = append(m.log, fmt.Sprintf("%d by %d in %v", act%9, n, m.hosts))
	switch act % 9 {
	case 0, 1:
		m.ask(n, before)
	case 2:
		m.p.Done(&m.s, h.ID, release, m.now)
	case 3:
		m.p.Nothing(&m.s, h.ID, release, act%2 == 0, m.now)
	case 4:
		if m.hosts[n] != waiting {
			m.p.Fail(&m.s, h, release, "died", m.now)
		}
	case 5:
		m.now = m.now.Add(time.Duration(n*n) * time.Minute)
	case 6:
		m.p.Paused = [2]string{"", "by hand"}[n%2]
	case 7:
		fleet.Clear(&m.s, h.ID)
	case 8:
		m.now = m.now.Add(time.Minute)
	}
	m.reload()
	m.hold()
}

// ask lets a host ask twice: the second answer is the first one, and changes nothing.
func (m *model) ask(n int, before int) {
	k := m.open()
	first, changed := m.p.Enter(&m.s, host(n), release, m.now)
	again, twice := m.p.Enter(&m.s, host(n), release, m.now)
	if first != again || twice {
		m.fatalf("asking twice: %+v, then %+v (changed %t)", first, again, twice)
	}
	if !first.Granted() || m.hosts[n] == seated || m.hosts[n] == idle {
		return
	}
	r := m.s.Find(release)
	switch {
	case !changed:
		m.fatalf("a new seat that is not written")
	case m.p.Paused != "":
		m.fatalf("entered while paused")
	case len(r.Failed) >= m.p.Waves[k].MaxFailed:
		m.fatalf("entered a halted release (%d failed, %d before)", len(r.Failed), before)
	case k < len(m.p.Waves)-1 && r.Entered() > m.p.Waves[k].Hosts:
		m.fatalf("%d hosts have entered wave %d", r.Entered(), k)
	case r.InUse() > m.p.Waves[k].Slots:
		m.fatalf("%d seats for %d slots", r.InUse(), m.p.Waves[k].Slots)
	}
}

// reload writes the record and reads it again, as an engine would.
func (m *model) reload() {
	data, err := m.s.Encode()
	if err != nil {
		m.fatalf("%v", err)
	}
	if m.s, err = fleet.ParseState(data); err != nil {
		m.fatalf("%v", err)
	}
	if again, _ := m.s.Encode(); !bytes.Equal(again, data) {
		m.fatalf("%s is read as %s", data, again)
	}
}

// hold checks what must be true after every step.
func (m *model) hold() {
	r := m.s.Find(release)
	if r == nil {
		return
	}
	counted := 0
	for n := range m.hosts {
		was := m.hosts[n]
		m.hosts[n] = m.lives(r, n, was)
		if m.hosts[n] == done {
			counted++
		}
	}
	k := m.open()
	switch {
	case r.Done < 0 || r.Done > modelHosts:
		m.fatalf("done is %d", r.Done)
	}
	for w, wave := range m.p.Waves[:len(m.p.Waves)-1] {
		switch {
		case r.Done < wave.Hosts:
			m.since[w] = time.Time{}
		case m.since[w].IsZero():
			m.since[w] = m.now
		}
		if k > w && (m.since[w].IsZero() || m.now.Sub(m.since[w]) < time.Duration(wave.Bake)) {
			m.fatalf("wave %d is open, wave %d had its hosts since %s", k, w, m.since[w])
		}
	}
	for i, proven := range r.Proven {
		if proven.After(m.now) || i > 0 && proven.Before(r.Proven[i-1]) {
			m.fatalf("waves proven at %v", r.Proven)
		}
	}
}

// lives says what the record knows of a host. A host without seat and mark is done if it was seated or failed and the
// count has it.
func (m *model) lives(r *fleet.Release, n int, was life) life {
	for _, seat := range r.Seats {
		if seat.Host == host(n).ID {
			return map[bool]life{false: seated, true: idle}[seat.Idle]
		}
	}
	for _, f := range r.Failed {
		if f.Host == host(n).ID {
			return failed
		}
	}
	if was == done {
		return done
	}
	if m.doneNow(r) && (was == seated || was == idle || was == failed) {
		return done
	}
	return waiting
}

// doneNow says whether the record counts more hosts as done than the model knows.
func (m *model) doneNow(r *fleet.Release) bool {
	known := 0
	for _, l := range m.hosts {
		if l == done {
			known++
		}
	}
	return r.Done > known
}

func (m *model) open() int { return m.p.Open(release, m.s.Find(release), m.now) }

func (m *model) failures() int {
	if r := m.s.Find(release); r != nil {
		return len(r.Failed)
	}
	return 0
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log[max(0, len(m.log)-20):] {
		m.t.Log(line)
	}
	data, _ := m.s.Encode()
	m.t.Fatalf(format+"; record %s", append(args, data)...)
}

// finish lets every host do well from here on: all must be done in the end.
func (m *model) finish() {
	m.p.Paused = ""
	for range 4 * modelHosts {
		for n := range m.hosts {
			fleet.Clear(&m.s, host(n).ID)
			if a, _ := m.p.Enter(&m.s, host(n), release, m.now); a.Granted() {
				m.p.Done(&m.s, host(n).ID, release, m.now)
			}
		}
		m.now = m.now.Add(15 * time.Minute)
	}
	if m.open() != len(m.p.Waves)-1 {
		m.fatalf("the last wave does not open")
	}
	if a, _ := m.p.Enter(&m.s, host(99), release, m.now); !a.Granted() {
		m.fatalf("a new host waits: %+v", a)
	}
}

func TestRule_AnyOrderOfSteps_BoundsHold(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t)
		for range 120 {
			m.step(random.IntN(256), random.IntN(256))
		}
		m.finish()
	}
}

func FuzzRule(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 0, 1, 2, 1, 5, 6, 0, 2})
	f.Fuzz(func(t *testing.T, steps []byte) {
		m := newModel(t)
		for ; len(steps) > 1; steps = steps[2:] {
			m.step(int(steps[0]), int(steps[1]))
		}
		m.finish()
	})
}
