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

const (
	// netEvery is the time between looks that nothing gave reason for: some changes make no event,
	// such as a mount over a directory, or a file system of the network.
	netEvery = 30 * time.Second
	// pollEvery is the same where the kernel gives no more watches.
	pollEvery = 2 * time.Second
)

// Watcher tells what stands at a path, and each change of it.
type Watcher struct {
	path    string
	settle  time.Duration
	net     time.Duration
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
	told      selector.Install
	toldMark  mark
	known     bool
	nextCheck time.Time
}

// Watch begins to watch path. What stands there now is told first, as soon as it has stood for
// settle. The caller must Close the Watcher.
func Watch(path string, settle time.Duration) (*Watcher, error) {
	return watch(path, settle, netEvery)
}

func watch(path string, settle, net time.Duration) (*Watcher, error) {
	notify, err := newNotifier(path)
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		path: path, settle: settle, net: net, notify: notify,
		changes: make(chan selector.Install, 1), done: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// Changes gives what stands at the path: first as it is, then whenever that changes in file, state,
// or content. Who reads late gets the latest. The channel is closed by Close.
func (w *Watcher) Changes() <-chan selector.Install { return w.changes }

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
	w.nextCheck = now.Add(w.net)
	w.seen = markOf(w.path)
	w.restless = now
	w.latest = now
	if w.seen != (mark{}) {
		w.latest = now.Add(min(0, w.seen.restless(w.settle, now)-w.settle))
	}
	w.timePassed(now)
}

func (w *Watcher) changed(now time.Time) {
	if w.restless.IsZero() {
		w.restless = now
	}
	w.latest, w.seen = now, markOf(w.path)
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
	if !w.restless.IsZero() && w.settled().Before(w.nextCheck) {
		return w.settled()
	}
	return w.nextCheck
}

func (w *Watcher) timePassed(now time.Time) {
	if !now.Before(w.nextCheck) {
		w.checkUnasked(now)
	}
	if w.restless.IsZero() || now.Before(w.settled()) {
		return
	}
	// Writes make no event before the file is closed, so the file has to look the same as well.
	if m := markOf(w.path); m != w.seen && now.Before(w.restless.Add(longestSettle*w.settle)) {
		w.latest, w.seen = now, m
		return
	}
	w.restless = time.Time{}
	w.tell(look(w.path))
}

// checkUnasked catches what made no event.
func (w *Watcher) checkUnasked(now time.Time) {
	w.notify.follow()
	w.nextCheck = now.Add(w.net)
	if w.notify.short {
		w.nextCheck = now.Add(min(w.net, pollEvery))
	}
	if i, m := look(w.path); w.restless.IsZero() && !w.isTold(i, m) {
		w.changed(now)
	}
}

func (w *Watcher) isTold(i selector.Install, m mark) bool {
	return w.known && m == w.toldMark && reflect.DeepEqual(i, w.told)
}

// tell puts the latest where the reader takes it, in place of one that it has not taken.
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
