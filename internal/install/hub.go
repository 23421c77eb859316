// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"sync"
	"time"

	"ebpf-upgrader/selector"
)

// pace is how often a file is looked at.
type pace struct {
	// idle is the time between looks that nothing gave reason for: some changes make no event, such
	// as a mount over a directory, or what another host does on a network file system.
	idle time.Duration
	// eager is the same where events cannot be relied on: the kernel gives no more watches, or the
	// file is unready, which may be for something that is not watched (its interpreter is missing,
	// somebody who wrote it still has it mapped).
	eager time.Duration
	// busy is the least time between two looks because of events.
	busy time.Duration
}

func usualPace() pace {
	return pace{idle: 30 * time.Second, eager: 2 * time.Second, busy: 20 * time.Millisecond}
}

// Hub watches any number of ways with one inotify instance. It is safe for concurrent use.
type Hub struct {
	settle  time.Duration
	pace    pace
	notify  *notifier
	started time.Time
	answers *answers

	mu       sync.Mutex // guards the rest
	watchers map[*Watcher]bool
	owners   map[uint32]*tenant
}

// tenant is an owner with the number of his ways.
type tenant struct {
	*owner
	ways int
}

// NewHub begins. What changes is told once it has stood unchanged for settle. There is no error: where
// the kernel gives no inotify instance, every way is looked at every 2 s. The caller must Close the
// Hub.
func NewHub(settle time.Duration) *Hub { return newHub(settle, usualPace()) }

func newHub(settle time.Duration, p pace) *Hub {
	h := &Hub{
		settle: settle, pace: p, notify: newNotifier(), started: time.Now(), answers: newAnswers(),
		watchers: make(map[*Watcher]bool), owners: make(map[uint32]*tenant),
	}
	go h.notify.read()
	return h
}

// Watch begins to watch a way, and tells what stands there: first as it is (at once if it has not
// changed for the settle time, otherwise as soon as it has), then whenever that changes in file,
// state, reason or content. Changes wait for the file to come to rest, for at most four times the
// settle time, except for one: that the ready file is being written to is told at once.
//
// tell is called by one goroutine. It must not block, and must not close the Watcher. The caller must
// Close the Watcher.
func (h *Hub) Watch(way RootedPath, tell func(selector.Install)) *Watcher {
	w := h.newWatcher(way, tell)
	go w.run()
	return w
}

func (h *Hub) newWatcher(way RootedPath, tell func(selector.Install)) *Watcher {
	w := &Watcher{
		hub: h, way: way.absolute(), settle: h.settle, pace: h.pace, report: tell,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), root: -1,
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	t := h.owners[way.Owner]
	if t == nil {
		t = &tenant{owner: newOwner()}
		h.owners[way.Owner] = t
	}
	t.ways++
	w.owner = t.owner
	return w
}

func (h *Hub) forget(w *Watcher) {
	h.notify.drop(w)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.watchers[w] {
		return
	}
	delete(h.watchers, w)
	t := h.owners[w.way.Owner]
	if t.ways--; t.ways == 0 {
		delete(h.owners, w.way.Owner)
	}
}

// Stats are what a [Hub] does now, and counters of what it did.
type Stats struct {
	// Ways is how many are watched, Polled how many of them are looked at every 2 s because the kernel
	// refused the instance or a watch, and Stuck how many wait for a file system that has not answered
	// for a second.
	Paths, Polled, Stuck int
	// Watches is how many watches of the kernel that takes.
	Watches int
	// Wakeups is how often the kernel had something to report, relevant or not.
	Wakeups uint64
	// Overflows is how often it lost events, after which everything was looked at again.
	Overflows uint64
	// Refused is how often it refused a watch, for want of room or of permission.
	Refused uint64
}

// Stats may be called at any time.
func (h *Hub) Stats() Stats {
	n := h.notify
	s := Stats{
		Watches: n.watches(), Wakeups: n.wakeups.Load(), Overflows: n.overflows.Load(), Refused: n.refused.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Paths = len(h.watchers)
	for w := range h.watchers {
		if w.blind.Load() {
			s.Polled++
		}
		if since := w.asking.Load(); since != 0 && time.Since(h.started)-time.Duration(since) > answerWithin {
			s.Stuck++
		}
	}
	return s
}

// Close closes every Watcher, and ends the Hub. It may be called more than once.
func (h *Hub) Close() {
	h.mu.Lock()
	var all []*Watcher
	for w := range h.watchers {
		all = append(all, w)
	}
	h.mu.Unlock()
	for _, w := range all {
		w.Close()
	}
	h.notify.close()
}
