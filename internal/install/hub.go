// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"maps"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
)

// intervals are the times between checks of a path.
type intervals struct {
	// resync is the time between checks without an event. Some changes make none, such as a mount over a directory, or a change
	// by another host on a network file system.
	resync time.Duration
	// retry replaces resync where events are not reliable. The kernel may have refused a watch; or the file is unready for a
	// reason that is not watched, such as a missing interpreter or a writable mapping.
	retry time.Duration
}

// coalesceInterval is the minimum time between two checks of a path.
const coalesceInterval = 20 * time.Millisecond

func defaultIntervals() intervals {
	return intervals{resync: 30 * time.Second, retry: 2 * time.Second}
}

// Hub watches any number of paths with one inotify instance. It is safe for concurrent use.
type Hub struct {
	settle    time.Duration
	intervals intervals
	notify    *notifier
	mounts    *mountWatcher
	started   time.Time
	checker   *Checker
	meter     *budget.Meter

	mu       sync.Mutex // guards the rest
	watchers map[*Watcher]bool
	users    map[budget.User]*userBudget
}

// NewHub returns a Hub. Changes are reported once the file has not changed for settle. There is no error: if the kernel refuses
// an inotify instance, every path is checked every 2 s. The caller must Close the Hub.
func NewHub(settle time.Duration) *Hub { return newHub(settle, defaultIntervals()) }

func newHub(settle time.Duration, every intervals) *Hub {
	h := unreadHub(settle, every)
	go h.notify.read()
	h.mounts.watchOwn()
	return h
}

// unreadHub returns a Hub that reads no events.
func unreadHub(settle time.Duration, every intervals) *Hub {
	h := &Hub{
		settle: settle, intervals: every, notify: newNotifier(watchLimits()), started: time.Now(), checker: NewChecker(),
		watchers: make(map[*Watcher]bool), users: make(map[budget.User]*userBudget), meter: budget.NewMeter(checkLimit()),
	}
	h.mounts = newMountWatcher(mountLimits(), h.refresh)
	return h
}

// refresh checks every path of a view. If that is the one of this process (zero), it checks the others, too: a mount may be
// propagated to them, and not each of them is watched.
func (h *Hub) refresh(v selector.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if v == (selector.View{}) || w.path.View == v {
			w.Refresh()
		}
	}
}

// Watch reports the install at a path, and each later change of its file, state, reason or content. The first report comes at
// once if the file has settled.
//
// A change is reported once the file has settled, after four times the settle time at the latest. One change is reported at
// once: a ready file is being written to.
//
// One goroutine calls report. report must not block, and must not close the Watcher. The caller must Close the Watcher.
func (h *Hub) Watch(path RootedPath, report func(selector.Install)) *Watcher {
	w := h.newWatcher(path, report)
	go w.run()
	return w
}

func (h *Hub) newWatcher(path RootedPath, report func(selector.Install)) *Watcher {
	w := &Watcher{
		hub: h, path: path.absolute(), report: report, root: -1,
		wake: make(chan struct{}, 1), refreshes: make(chan struct{}, 1), prompts: make(chan *pendingCheck), stop: make(chan struct{}),
	}
	h.mounts.retain(path)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = true
	u := h.users[path.Owner]
	if u == nil {
		u = newUserBudget(path.Owner, h.meter)
		h.users[path.Owner] = u
	}
	u.paths++
	w.budget = u
	return w
}

func (h *Hub) forget(w *Watcher) {
	h.notify.drop(w)
	if h.remove(w) {
		h.mounts.release(w.path)
	}
}

// remove reports whether w was watched.
func (h *Hub) remove(w *Watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.watchers[w] {
		return false
	}
	delete(h.watchers, w)
	if w.budget.paths--; w.budget.paths == 0 {
		delete(h.users, w.path.Owner)
	}
	return true
}

// Stats has the current state of a [Hub], and counters.
type Stats struct {
	// Paths is how many paths are watched. Polled is how many of them are checked every 2 s because the kernel refused the
	// instance or a watch. Stuck is how many have waited for a file system for more than a second.
	Paths, Polled, Stuck int
	// Watches is the number of inotify watches in use.
	Watches int
	// Wakeups counts the reads of events, relevant or not.
	Wakeups uint64
	// Overflows counts how often the kernel lost events. Every path was checked then.
	Overflows uint64
	// Refused counts the watches that the kernel refused, for lack of room or of permission.
	Refused uint64
}

// Stats returns a snapshot. It may be called at any time, also after Close.
func (h *Hub) Stats() Stats {
	n := h.notify
	s := Stats{
		Watches: n.countWatches(), Wakeups: n.wakeups.Load(), Overflows: n.overflows.Load(), Refused: n.refused.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Paths = len(h.watchers)
	for w := range h.watchers {
		if w.polled.Load() {
			s.Polled++
		}
		if since := w.blockedSince.Load(); since != 0 && time.Since(h.started)-time.Duration(since) > fileTimeout {
			s.Stuck++
		}
	}
	return s
}

// Close closes every Watcher and the Hub. A second call does nothing.
func (h *Hub) Close() {
	h.mu.Lock()
	all := slices.Collect(maps.Keys(h.watchers))
	h.mu.Unlock()
	for _, w := range all {
		w.Close()
	}
	h.notify.close()
	h.mounts.close()
}
