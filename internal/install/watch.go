// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Watcher tells what stands at the end of a way, and each change of it. See [Hub.Watch].
type Watcher struct {
	hub    *Hub
	way    RootedPath
	settle time.Duration
	pace   pace
	owner  *owner
	report func(selector.Install)
	wake   chan struct{}
	stop   chan struct{}
	// lost says that a watch has gone. blind, which the goroutine alone writes, that the kernel refused
	// one that would tell of changes.
	lost, blind atomic.Bool
	// asking is since when a file system is waited for, as time since the hub began; 0 for not at all.
	asking atomic.Int64

	mu      sync.Mutex // held while something is told; guards the next two
	closed  bool
	checked *answer

	// The rest belongs to the goroutine.

	// root is the root directory, while a file system is asked, and unseen why there is none.
	root   int
	unseen error
	sight  sight
	// points is the way as it is watched.
	points map[string]*point
	// restless is when the first change was seen that was not told yet, and latest when the last
	// one; zero when there is none.
	restless, latest time.Time
	// seen is the mark at the latest change.
	seen mark
	// told is what was told last, with its mark; known says that something was.
	told     selector.Install
	toldMark mark
	known    bool
	lastLook time.Time
	// reopened is when a file that was open for writing was opened once more.
	reopened time.Time
}

// Look has the way looked at soon, as after a change: its root can be opened again, say. It does not
// wait.
func (w *Watcher) Refresh() { w.heard() }

// Close ends the watch. After it has returned nothing is told any more. It does not wait for a file
// system that does not answer; a thread that waits for one ends when it does. It may be called more
// than once.
func (w *Watcher) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
	w.mu.Unlock()
	w.hub.forget(w)
}

// bereft implements listener.
func (w *Watcher) bereft() {
	w.lost.Store(true)
	w.heard()
}

// heard implements listener.
func (w *Watcher) heard() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Watcher) run() {
	defer w.hub.notify.drop(w) // what was watched while Close did the same
	if !w.ask(w.begin) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(w.deadline()))
		act := w.timePassed
		select {
		case <-w.stop:
			return
		case <-w.wake:
			act = w.happened
		case <-timer.C:
		}
		if !w.ask(act) || !w.rest() {
			return
		}
	}
}

// ask has act look at files, when the owner's turn has come. It reports whether to go on.
func (w *Watcher) ask(act func(now time.Time)) bool {
	w.asking.Store(max(1, int64(time.Since(w.hub.started))))
	defer w.asking.Store(0)
	return w.owner.do(w.stop, func() {
		if w.root, w.unseen = w.way.open(); w.unseen == nil {
			defer func() { _ = unix.Close(w.root) }()
			w.sight = w.way.sight(w.root, w.hub.answers)
		}
		act(time.Now())
	})
}

// rest lets events gather, and reports whether to go on.
func (w *Watcher) rest() bool {
	return w.pace.busy == 0 || !sys.WaitFor(w.stop, w.pace.busy)
}

// begin looks at what stands there before any event: as a change that may have settled long ago.
func (w *Watcher) begin(now time.Time) {
	w.follow()
	w.lastLook = now
	w.seen = w.mark()
	w.restless = now
	w.latest = now.Add(min(0, w.seen.restless(w.settle, now)-w.settle))
	w.timePassed(now)
}

func (w *Watcher) happened(now time.Time) {
	w.follow()
	w.reopen(now)
	w.changed(now)
}

// reopen has a file that was open for writing opened once more: who wrote to it may have closed it, which its mark does
// not tell.
func (w *Watcher) reopen(now time.Time) {
	w.reopened = now
	w.hub.answers.closed(w.mark())
}

func (w *Watcher) changed(now time.Time) {
	if w.restless.IsZero() {
		w.restless = now
	}
	w.latest, w.seen = now, w.mark()
	w.warn()
}

// warn does not let a file that was told as ready pass for that while it is written to: servers that
// are asked now would not survive. Any other change can wait, for whoever asks a server compares the
// image that was told with the one that is there.
func (w *Watcher) warn() {
	if w.told.State != selector.StateReady || w.seen.Image != w.told.Image {
		return
	}
	if i, m := w.look(); i.State == selector.StateUnready {
		w.tell(i, m)
	}
}

// settled is when what changed last may be looked at.
func (w *Watcher) settled() time.Time {
	quiet, longest := w.latest.Add(w.settle), w.restless.Add(longestSettle*w.settle)
	if quiet.Before(longest) {
		return quiet
	}
	return longest
}

func (w *Watcher) deadline() time.Time {
	if !w.restless.IsZero() && w.settled().Before(w.nextLook()) {
		return w.settled()
	}
	return w.nextLook()
}

// nextLook is when the file is looked at without any reason: for all ways at the same time, as far as
// there is no hurry, so that the host is woken once.
func (w *Watcher) nextLook() time.Time {
	if w.blind.Load() || w.told.State == selector.StateUnready {
		return w.lastLook.Add(min(w.pace.eager, w.pace.idle))
	}
	since := w.lastLook.Sub(w.hub.started)
	return w.hub.started.Add(since.Truncate(w.pace.idle) + w.pace.idle)
}

func (w *Watcher) timePassed(now time.Time) {
	if !now.Before(w.nextLook()) {
		w.lookUnasked(now)
	}
	if w.restless.IsZero() || now.Before(w.settled()) {
		return
	}
	// Not every write makes an event (one into a shared mapping does not), so the file has to look
	// the same as well.
	if m := w.mark(); m != w.seen && now.Before(w.restless.Add(longestSettle*w.settle)) {
		w.latest, w.seen = now, m
		return
	}
	w.restless, w.latest = time.Time{}, time.Time{}
	w.tell(w.look())
}

// lookUnasked catches what made no event, such as a mount over a directory of the path.
func (w *Watcher) lookUnasked(now time.Time) {
	w.lastLook = now
	if w.blind.Load() && now.Sub(w.reopened) >= w.pace.idle {
		w.reopen(now)
	}
	w.follow()
	if i, m := w.look(); w.restless.IsZero() && !w.isTold(i, m) {
		w.changed(now)
	}
}

func (w *Watcher) isTold(i selector.Install, m mark) bool {
	return w.known && m == w.toldMark && reflect.DeepEqual(i, w.told)
}

func (w *Watcher) tell(i selector.Install, m mark) {
	if w.isTold(i, m) {
		return
	}
	w.told, w.toldMark, w.known = i, m, true
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.report(i)
	}
}
