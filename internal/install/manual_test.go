// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// manual is a Watcher with a notifier that only the test reads.
type manual struct {
	*Watcher
	t *testing.T
}

func startedManual(t *testing.T, path string) *manual {
	t.Helper()
	q := newManual(t, RootedPath{Path: path})
	q.now((*Watcher).rewatch)
	return q
}

func newManual(t *testing.T, path RootedPath) *manual {
	t.Helper()
	h := unreadHub(shortSettle, eventsOnly())
	t.Cleanup(h.Close)
	return &manual{h.newWatcher(path, func(selector.Install) {}), t}
}

// now does what the goroutine does for a check.
func (q *manual) now(act func(w *Watcher)) { q.withRoot(func(time.Time) { act(q.Watcher) }) }

// pending reports whether there are events. The kernel queues them before the system call that causes them returns.
func (q *manual) pending() bool {
	q.t.Helper()
	raw, err := q.hub.notify.file.SyscallConn()
	must(q.t, err)
	ready := 0
	must(q.t, raw.Control(func(fd uintptr) {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); { // the runtime signals its own threads
			ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
	}))
	must(q.t, err)
	return ready > 0
}

// drain reads all events, and reports whether any of them woke the Watcher.
func (q *manual) drain() bool {
	q.t.Helper()
	buf := make([]byte, readBufferSize)
	for q.pending() {
		got, err := q.hub.notify.file.Read(buf)
		must(q.t, err)
		q.hub.notify.mu.Lock()
		q.hub.notify.dispatch(buf[:got])
		q.hub.notify.mu.Unlock()
	}
	select {
	case <-q.wake:
		return true
	default:
		return false
	}
}
