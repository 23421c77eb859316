// SPDX-License-Identifier: MIT

package main

import (
	"container/heap"
	"math/rand/v2"
	"strconv"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// release is what all hosts are to put in place.
const release = "sha256:9f2c41d0"

// noon is when the first host gets the staged file.
var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// fault is what is wrong with a file or with the world.
type fault struct {
	name string
	// atOnce and later are the shares of hosts on which servers die at once, or in the mean ten minutes later.
	atOnce, later float64
	// client: the servers of one client die, which is on one host in ten.
	client bool
	// lost has the engine unreachable from 45 to 105 minutes.
	lost bool
	// vanish is the share of hosts that are gone for good at some time in the first two hours.
	vanish float64
}

// gate decides which host goes. The hosts call it through world.ask.
type gate interface {
	// enter says whether the host may go, and otherwise when it asks again.
	enter(w *world, h int) (bool, time.Duration)
	done(w *world, h int)
	fail(w *world, h int)
	// isStuck says that no host will go any more.
	isStuck() bool
}

// world is a fleet in virtual time.
type world struct {
	fault
	gate   gate
	random *rand.Rand
	now    time.Time
	events events
	// pending counts the events that are more than a host that asks.
	pending int
	hosts   []fleet.Host
	gone    []time.Time

	placed, harmed, finished int
	last                     time.Duration
	requests, peak           int
	second                   map[int64]int
	tries                    []int
}

// event is a function that is due.
type event struct {
	at  time.Time
	run func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// run plays a fault on a fleet until all hosts are done, or for six hours.
func run(f fault, g gate, hosts int, seed uint64) *world {
	w := &world{
		fault: f, gate: g, random: rand.New(rand.NewPCG(seed, 7)), now: noon, second: make(map[int64]int),
		hosts: make([]fleet.Host, hosts), gone: make([]time.Time, hosts), tries: make([]int, hosts),
	}
	for h := range hosts {
		name := strconv.Itoa(h)
		w.hosts[h] = fleet.Host{ID: name, Name: name}
		if w.random.Float64() < f.vanish {
			w.gone[h] = noon.Add(w.upTo(2 * time.Hour))
		}
		w.after(w.upTo(10*time.Minute), func() { w.ask(h) })
	}
	end := noon.Add(6 * time.Hour)
	for len(w.events) > 0 {
		e := heap.Pop(&w.events).(event)
		if e.at.After(end) || w.pending == 0 && g.isStuck() {
			break
		}
		w.now = e.at
		e.run()
	}
	for _, n := range w.second {
		w.peak = max(w.peak, n)
	}
	return w
}

func (w *world) after(d time.Duration, run func()) { heap.Push(&w.events, event{w.now.Add(d), run}) }

// act is after for what is more than asking.
func (w *world) act(d time.Duration, run func()) {
	w.pending++
	w.after(d, func() { w.pending--; run() })
}

func (w *world) upTo(most time.Duration) time.Duration {
	return time.Duration(w.random.Float64() * float64(most))
}

// isGone says whether the machine has vanished.
func (w *world) isGone(h int) bool { return !w.gone[h].IsZero() && !w.now.Before(w.gone[h]) }

// request counts n requests to the engine, and says whether it is reached.
func (w *world) request(n int) bool {
	if w.gate == (none{}) {
		return true
	}
	w.requests += n
	w.second[w.now.Unix()] += n
	since := w.now.Sub(noon)
	return !w.lost || since < 45*time.Minute || since >= 105*time.Minute
}

// retry runs again when the engine was not reached.
func (w *world) retry(h int, run func()) {
	w.tries[h]++
	w.act(fleet.Retry(w.tries[h], w.random.Float64()), run)
}

// ask is what a host does as long as it waits.
func (w *world) ask(h int) {
	if w.isGone(h) {
		return
	}
	if !w.request(1) {
		w.retry(h, func() { w.ask(h) })
		return
	}
	w.tries[h] = 0
	ok, wait := w.gate.enter(w, h)
	if !ok {
		w.after(wait, func() { w.ask(h) })
		return
	}
	w.place(h)
}

// place puts the file in place; the servers follow.
func (w *world) place(h int) {
	w.placed++
	takes := 5*time.Second + w.upTo(10*time.Second)
	if w.random.IntN(20) == 0 {
		takes = 35 * time.Second
	}
	dies := w.random.Float64() < w.atOnce || w.client && h%10 == 0
	w.act(takes, func() { w.settled(h, dies) })
}

// settled is the end of a host's rollout.
func (w *world) settled(h int, dies bool) { //nolint:revive // flag-parameter: a fact about the host, not a mode
	if w.isGone(h) {
		return
	}
	if dies {
		w.harmed++
		w.report(h, w.gate.fail)
		return
	}
	w.finished++
	w.last = w.now.Sub(noon)
	w.report(h, w.gate.done)
	if w.random.Float64() < w.later {
		w.act(time.Duration(w.random.ExpFloat64()*float64(10*time.Minute)), func() {
			w.harmed++
			w.report(h, w.gate.fail)
		})
	}
}

// report tells the gate until it is reached.
func (w *world) report(h int, tell func(*world, int)) {
	if w.isGone(h) {
		return
	}
	if !w.request(2) {
		w.retry(h, func() { w.report(h, tell) })
		return
	}
	tell(w, h)
}
