// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"reflect"
	"sync"
	"time"

	"ebpf-upgrader/selector"
)

// pace is how often a Watcher looks without being told to.
type pace struct {
	// idle is the time between looks that nothing gave reason for: some changes make no event, such
	// as a mount over a directory, or what another host does on a network file system.
	idle time.Duration
	// eager is the same where events cannot be relied on: the kernel gives no more watches, or the
	// file is unready, which may be for something that is not watched (its interpreter is missing,
	// somebody who wrote it still has it mapped).
	eager time.Duration
}

func usualPace() pace { return pace{idle: 30 * time.Second, eager: 2 * time.Second} }

// Watcher tells what stands at a path, and each change of it.
type Watcher struct {
	path    string
	settle  time.Duration
	pace    pace
	notify  *notifier
	changes chan selector.Install
	done    chan struct{}
	closing sync.Once

	// The rest belongs to the goroutine.

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
}

// Watch begins to watch path. What stands there now is told first: at once if it has not changed for
// settle, otherwise as soon as it has. The caller must Close the Watcher. Watch fails when the
// user's limit of inotify instances is reached; too few watches are no failure, the Watcher then
// looks every 2 s.
func Watch(path string, settle time.Duration) (*Watcher, error) {
	return watch(path, settle, usualPace())
}

func watch(path string, settle time.Duration, p pace) (*Watcher, error) {
	w, err := newWatcher(path, settle, p)
	if err != nil {
		return nil, err
	}
	go w.run()
	return w, nil
}

func newWatcher(path string, settle time.Duration, p pace) (*Watcher, error) {
	notify, err := newNotifier(path)
	if err != nil {
		return nil, err
	}
	return &Watcher{
		path: path, settle: settle, pace: p, notify: notify,
		changes: make(chan selector.Install, 1), done: make(chan struct{}),
	}, nil
}

// Changes gives what stands at the path: first as it is, then whenever that changes in file, state,
// reason or content. Changes wait for the file to come to rest, for at most four times the settle
// time, except for one: that the ready file is being written to is told at once. Who reads late gets
// the latest. The channel is closed by Close.
func (w *Watcher) Changes() <-chan selector.Install { return w.changes }

// Stats are counters of a [Watcher].
type Stats struct {
	// Wakeups is how often the kernel had something to report, relevant or not.
	Wakeups uint64
	// Overflows is how often it lost events, after which everything was looked at again.
	Overflows uint64
	// Refused is how often it refused a watch, for want of room or of permission.
	Refused uint64
	// Watches is how many there are now.
	Watches int
}

// Stats may be called at any time, by anybody.
func (w *Watcher) Stats() Stats {
	n := w.notify
	return Stats{n.wakeups.Load(), n.overflows.Load(), n.refused.Load(), int(n.watches.Load())}
}

// Close ends the watch, and waits until its goroutine has ended. It may be called more than once.
func (w *Watcher) Close() error {
	var err error
	w.closing.Do(func() { err = w.notify.close() })
	<-w.done
	return err
}

func (w *Watcher) run() {
	defer close(w.done)
	defer close(w.changes)
	w.begin(time.Now())
	w.loop()
}

func (w *Watcher) loop() {
	for {
		relevant, err := w.notify.next(w.deadline())
		now := time.Now()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.timePassed(now)
		case err != nil: // closed
			return
		case relevant:
			w.notify.follow()
			w.changed(now)
		}
	}
}

// begin looks at what stands there before any event: as a change that may have settled long ago.
func (w *Watcher) begin(now time.Time) {
	w.notify.follow()
	w.lastLook = now
	w.seen = markOf(w.path)
	w.restless = now
	w.latest = now.Add(min(0, w.seen.restless(w.settle, now)-w.settle))
	w.timePassed(now)
}

func (w *Watcher) changed(now time.Time) {
	if w.restless.IsZero() {
		w.restless = now
	}
	w.latest, w.seen = now, markOf(w.path)
	w.warn()
}

// warn does not let a file that was told as ready pass for that while it is written to: servers that
// are asked now would not survive. Any other change can wait, for whoever asks a server compares the
// image that was told with the one that is there.
func (w *Watcher) warn() {
	if w.told.State != selector.StateReady || w.seen.Image != w.told.Image {
		return
	}
	if i, m := look(w.path); i.State == selector.StateUnready {
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

func (w *Watcher) nextLook() time.Time {
	if w.notify.blind || w.told.State == selector.StateUnready {
		return w.lastLook.Add(min(w.pace.eager, w.pace.idle))
	}
	return w.lastLook.Add(w.pace.idle)
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
	if m := markOf(w.path); m != w.seen && now.Before(w.restless.Add(longestSettle*w.settle)) {
		w.latest, w.seen = now, m
		return
	}
	w.restless, w.latest = time.Time{}, time.Time{}
	w.tell(look(w.path))
}

// lookUnasked catches what made no event.
func (w *Watcher) lookUnasked(now time.Time) {
	w.notify.follow()
	w.lastLook = now
	if i, m := look(w.path); w.restless.IsZero() && !w.isTold(i, m) {
		w.changed(now)
	}
}

func (w *Watcher) isTold(i selector.Install, m mark) bool {
	return w.known && m == w.toldMark && reflect.DeepEqual(i, w.told)
}

// tell puts the latest where the reader takes it, in place of one that it has not taken. Nobody else
// puts anything there, so that the last line never waits.
func (w *Watcher) tell(i selector.Install, m mark) {
	if w.isTold(i, m) {
		return
	}
	w.told, w.toldMark, w.known = i, m, true
	select {
	case <-w.changes:
	default:
	}
	w.changes <- i
}
