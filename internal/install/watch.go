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

// Watcher reports the install at a path, and each change of it. See [Hub.Watch].
type Watcher struct {
	hub    *Hub
	path   RootedPath
	budget *userBudget
	report func(selector.Install)
	// wake is for events, and refreshes for calls of Refresh.
	wake, refreshes chan struct{}
	// prompts are requests of ReportNow.
	prompts chan *pendingCheck
	stop    chan struct{}
	// watchLost is true if the kernel has removed a watch. polled is true if it has refused one; only the goroutine writes it.
	watchLost, polled atomic.Bool
	// blockedSince is when a check began to wait for its turn or a file system, as time since the start of the hub; 0: not at all.
	blockedSince atomic.Int64

	mu      sync.Mutex // held during a report; guards closed and pending
	closed  bool
	pending *pendingCheck

	// The other fields belong to the goroutine.

	// root is the root directory during a check, and rootErr why it could not be opened.
	root      int
	rootErr   error
	inspector inspector
	// watched is the hash of the watched points of the path.
	watched uint64
	// dirtySince is the time of the first change that was not reported, and lastChange that of the last one; zero if none.
	dirtySince, lastChange time.Time
	// lastVersion is the version of the file at lastChange.
	lastVersion version
	// reported is the last reported install, with its version, if hasReported is true.
	reported        selector.Install
	reportedVersion version
	hasReported     bool
	lastResync      time.Time
	// lastReopen is when a file that was open for writing was last opened again.
	lastReopen time.Time
}

// Refresh checks the path soon, because no event reports what has changed: its root can be opened again, or mounts are others.
// It does not wait.
func (w *Watcher) Refresh() {
	select {
	case w.refreshes <- struct{}{}:
	default:
	}
}

// Close ends the watch. After its return, nothing is reported. It does not wait for a file system that does not answer; a
// blocked thread ends when that answers. A second call does nothing.
func (w *Watcher) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
	w.mu.Unlock()
	w.hub.forget(w)
}

// onWatchLost replaces onChange if the kernel has removed one of the watches. It does not block.
func (w *Watcher) onWatchLost() {
	w.watchLost.Store(true)
	w.onChange()
}

// onChange is called for a change on the path. It does not block.
func (w *Watcher) onChange() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Watcher) run() {
	defer w.hub.notify.drop(w) // drops watches added during Close
	if !w.withRoot(w.start) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(w.nextDeadline()))
		act := w.handleTimer
		select {
		case <-w.stop:
			return
		case <-w.wake:
			act = w.handleEvents
		case <-w.refreshes:
			act = w.resync
		case p := <-w.prompts:
			act = func(time.Time) { w.answer(p) }
		case <-timer.C:
		}
		if !w.withRoot(act) || sys.WaitFor(w.stop, coalesceInterval) {
			return
		}
	}
}

// withRoot calls act with the root open, once the budget of the owner allows it. It reports whether to go on.
func (w *Watcher) withRoot(act func(now time.Time)) bool {
	w.blockedSince.Store(max(1, int64(time.Since(w.hub.started))))
	defer w.blockedSince.Store(0)
	return w.budget.run(w.stop, func() {
		if w.root, w.rootErr = w.path.open(); w.rootErr == nil {
			defer func() { _ = unix.Close(w.root) }()
			w.inspector = w.path.inspector(w.root, w.hub.checker)
		}
		act(time.Now())
	})
}

// start checks the file before any event, as a change that may have settled long ago.
func (w *Watcher) start(now time.Time) {
	w.followMounts()
	w.rewatch()
	w.lastResync = now
	w.lastVersion = w.version()
	w.dirtySince = now
	w.lastChange = now.Add(min(0, w.lastVersion.untilSettled(w.hub.settle, now)-w.hub.settle))
	w.handleTimer(now)
}

func (w *Watcher) handleEvents(now time.Time) {
	w.rewatch()
	w.recheckWritten(now)
	w.noteChange(now)
}

// recheckWritten has a file opened again that was open for writing. Its version does not show that the writer has closed it.
func (w *Watcher) recheckWritten(now time.Time) {
	w.lastReopen = now
	w.hub.checker.dropWritten(w.version())
}

func (w *Watcher) noteChange(now time.Time) {
	if w.dirtySince.IsZero() {
		w.dirtySince = now
	}
	w.lastChange, w.lastVersion = now, w.version()
	w.reportUnready()
}

// reportUnready reports at once that a ready file is being written to: a server signalled now would die. Any other change can
// settle first, because each delivery compares the reported image with the current one.
func (w *Watcher) reportUnready() {
	if w.reported.State != selector.StateReady || w.lastVersion.Image != w.reported.Image {
		return
	}
	if i, v := w.inspect(); i.State == selector.StateUnready {
		w.reportChange(i, v)
	}
}

// settlesAt returns when the last change may be reported.
func (w *Watcher) settlesAt() time.Time {
	quiet, longest := w.lastChange.Add(w.hub.settle), w.dirtySince.Add(maxSettleFactor*w.hub.settle)
	if quiet.Before(longest) {
		return quiet
	}
	return longest
}

func (w *Watcher) nextDeadline() time.Time {
	if !w.dirtySince.IsZero() && w.settlesAt().Before(w.nextResync()) {
		return w.settlesAt()
	}
	return w.nextResync()
}

// nextResync returns when the file is checked without an event. All paths have the same time unless one is urgent, so the host
// is woken once.
func (w *Watcher) nextResync() time.Time {
	if w.polled.Load() || w.reported.State == selector.StateUnready {
		return w.lastResync.Add(min(w.hub.intervals.retry, w.hub.intervals.resync))
	}
	since := w.lastResync.Sub(w.hub.started)
	return w.hub.started.Add(since.Truncate(w.hub.intervals.resync) + w.hub.intervals.resync)
}

func (w *Watcher) handleTimer(now time.Time) {
	if !now.Before(w.nextResync()) {
		w.resync(now)
	}
	if w.dirtySince.IsZero() || now.Before(w.settlesAt()) {
		return
	}
	// Not every write makes an event (one into a shared mapping does not), so the version must be the same, too.
	if v := w.version(); v != w.lastVersion && now.Before(w.dirtySince.Add(maxSettleFactor*w.hub.settle)) {
		w.lastChange, w.lastVersion = now, v
		return
	}
	w.dirtySince, w.lastChange = time.Time{}, time.Time{}
	w.reportChange(w.inspect())
}

// resync finds changes without an event, such as a mount over a directory of the path.
func (w *Watcher) resync(now time.Time) {
	w.lastResync = now
	if w.polled.Load() && now.Sub(w.lastReopen) >= w.hub.intervals.resync {
		w.recheckWritten(now)
	}
	w.followMounts()
	w.rewatch()
	if i, v := w.inspect(); w.dirtySince.IsZero() && !w.isReported(i, v) {
		w.noteChange(now)
	}
}

// followMounts watches the mounts of the path. Where no process has its root any more, it lets the kernel free them.
func (w *Watcher) followMounts() {
	if w.rootErr != nil {
		w.hub.mounts.end(w.path)
		return
	}
	w.hub.mounts.follow(w.path)
}

func (w *Watcher) isReported(i selector.Install, v version) bool {
	return w.hasReported && v == w.reportedVersion && reflect.DeepEqual(i, w.reported)
}

func (w *Watcher) reportChange(i selector.Install, v version) {
	if w.isReported(i, v) {
		return
	}
	w.reported, w.reportedVersion, w.hasReported = i, v, true
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.report(i)
	}
}

// inspect returns the install and its version, if the root could be opened.
func (w *Watcher) inspect() (selector.Install, version) {
	if w.rootErr != nil {
		return noRoot(w.path.Path, w.rootErr), version{}
	}
	return w.inspector.inspect(w.path.Path)
}

func (w *Watcher) version() version {
	if w.rootErr != nil {
		return version{}
	}
	return w.inspector.versionOf(w.path.Path)
}
