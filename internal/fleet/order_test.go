// SPDX-License-Identifier: MIT

package fleet_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// memory is what the hosts of the model say of whether they are counted.
type memory int

const (
	right memory = iota
	none
	wrong
)

// model drives the rule with steps in any order and knows what must hold.
type model struct {
	t      *testing.T
	p      fleet.Policy
	s      fleet.State
	now    time.Time
	memory memory
	// done says of each host whether its last report was that it is done.
	done []bool
	// since has the time from which on a wave had its hosts without a break.
	since [2]time.Time
	log   []string
}

const modelHosts = 12

func newModel(t *testing.T, hosts int, remember memory) *model {
	return &model{t: t, p: small(), s: fleet.State{Version: 1}, now: begin, memory: remember, done: make([]bool, hosts)}
}

// host is one as its service names it in a call.
func (m *model) host(n int) fleet.Host {
	h := host(n)
	h.Counted = m.memory == right && m.done[n] || m.memory == wrong && !m.done[n]
	return h
}

// step does what two bytes say: which act, by which host.
func (m *model) step(act, n int) {
	n %= len(m.done)
	h := m.host(n)
	before := m.failures()
	m.log = append(m.log, fmt.Sprintf("%d by %d, done %v", act%9, n, m.done))
	switch act % 9 {
	case 0, 1:
		m.ask(n, before)
	case 2:
		isMember := m.isMember(n)
		if m.p.Done(&m.s, h, release, m.now) != isMember {
			m.fatalf("host %d reports that it is done, is it a member: %t", n, isMember)
		}
		m.done[n] = m.done[n] || isMember
	case 3:
		m.p.Nothing(&m.s, h.ID, release, act%2 == 0, m.now)
	case 4:
		if m.p.Fail(&m.s, h, release, "died", m.now) {
			m.done[n] = false
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

// isMember says whether the record has a seat or a mark of a host.
func (m *model) isMember(n int) bool {
	r := m.s.Find(release)
	return r != nil && (hasSeat(r, n) || slices.ContainsFunc(r.Failed, func(f fleet.FailedHost) bool { return f.Host == host(n).ID }))
}

func hasSeat(r *fleet.Release, n int) bool {
	return slices.ContainsFunc(r.Seats, func(s fleet.Seat) bool { return s.Host == host(n).ID })
}

// ask lets a host ask twice: the second answer is the first one, and changes nothing.
func (m *model) ask(n int, before int) {
	k := m.open()
	r := m.s.Find(release)
	hadSeat := r != nil && hasSeat(r, n)
	first, changed := m.p.Enter(&m.s, m.host(n), release, m.now)
	again, twice := m.p.Enter(&m.s, m.host(n), release, m.now)
	if first != again || twice {
		m.fatalf("asking twice: %+v, then %+v (changed %t)", first, again, twice)
	}
	if !first.Granted() || hadSeat {
		return
	}
	r = m.s.Find(release)
	switch {
	case !changed:
		m.fatalf("a new seat that is not written")
	case m.p.Paused != "":
		m.fatalf("entered while paused")
	case len(r.Failed) >= m.p.Waves[k].MaxFailed:
		m.fatalf("entered a halted release (%d failed, %d before)", len(r.Failed), before)
	case k < len(m.p.Waves)-1 && !m.done[n] && r.Entered() > m.p.Waves[k].Hosts:
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
	done, entered := 0, 0
	for n, isDone := range m.done {
		if isDone {
			done++
		}
		if isDone || hasSeat(r, n) {
			entered++
		}
	}
	if r.Done != done || r.Entered() != entered {
		m.fatalf("%d done and %d entered, want %d and %d", r.Done, r.Entered(), done, entered)
	}
	if most := m.p.Waves[len(m.p.Waves)-2].Hosts; len(r.Hosts) > most {
		m.fatalf("the record names %d hosts, %d decide", len(r.Hosts), most)
	}
	if slices.ContainsFunc(r.Seats, func(s fleet.Seat) bool { return s.Idle && s.Counted }) {
		m.fatalf("a place is kept for a host that has one")
	}
	k := m.open()
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
	for range 4 * len(m.done) {
		for n := range m.done {
			fleet.Clear(&m.s, host(n).ID)
			if a, _ := m.p.Enter(&m.s, m.host(n), release, m.now); a.Granted() {
				m.p.Done(&m.s, m.host(n), release, m.now)
				m.done[n] = true
				m.hold()
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

// play lets hosts take random steps.
func play(t *testing.T, seed uint64, hosts int, remember memory) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	m := newModel(t, hosts, remember)
	for range 120 {
		m.step(random.IntN(256), random.IntN(256))
	}
	m.finish()
}

func TestRule_AnyOrderOfSteps_BoundsHold(t *testing.T) {
	for seed := range uint64(300) {
		play(t, seed, modelHosts, right)
	}
}

// TestRule_HostsForget_CountsAreExact has no more hosts than decide when the last wave opens: those the record knows itself.
func TestRule_HostsForget_CountsAreExact(t *testing.T) {
	for seed := range uint64(200) {
		play(t, seed, small().Waves[1].Hosts, none)
		play(t, seed, small().Waves[1].Hosts, wrong)
	}
}

func FuzzRule(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 0, 1, 2, 1, 5, 6, 0, 2})
	f.Fuzz(func(t *testing.T, steps []byte) {
		m := newModel(t, modelHosts, right)
		for ; len(steps) > 1; steps = steps[2:] {
			m.step(int(steps[0]), int(steps[1]))
		}
		m.finish()
	})
}
