// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

const (
	shortSettle = 20 * time.Millisecond
	testTimeout = 10 * time.Second
)

// eventsOnly has no check without an event, so each report has an event as its cause.
func eventsOnly() intervals { return intervals{resync: never, retry: never} }

// watched is a Watcher with its latest report.
type watched struct {
	*Watcher
	reports chan selector.Install
}

func watchFile(t *testing.T, path string, p intervals) *watched {
	t.Helper()
	return watchPath(t, shortSettle, p, RootedPath{Path: path})
}

func watchPath(t *testing.T, settle time.Duration, p intervals, path RootedPath) *watched {
	t.Helper()
	w := notStarted(t, settle, p, path)
	go w.run()
	return w
}

// unwatched has not started.
func notStarted(t *testing.T, settle time.Duration, p intervals, path RootedPath) *watched {
	t.Helper()
	h := newHub(settle, p)
	t.Cleanup(h.Close)
	w := &watched{reports: make(chan selector.Install, 1)}
	w.Watcher = h.newWatcher(path, w.put)
	return w
}

// now does what the goroutine of the Watcher does for a check.
func (w *watched) now(inspect func()) { w.withRoot(func(time.Time) { inspect() }) }

// put is called by one goroutine, so the last line never blocks.
func (w *watched) put(i selector.Install) {
	select {
	case <-w.reports:
	default:
	}
	w.reports <- i
}

// await takes reports until one is wanted.
func await(t *testing.T, w *watched, what string, wanted func(selector.Install) bool) selector.Install {
	t.Helper()
	timeout := time.After(testTimeout)
	var last selector.Install
	for {
		select {
		case i := <-w.reports:
			if last = i; wanted(i) {
				return i
			}
		case <-timeout:
			t.Fatalf("%s was not reported; the last report was %+v; %+v", what, last, w.hub.Stats())
		}
	}
}

func awaitReady(t *testing.T, w *watched, image selector.Image) {
	t.Helper()
	await(t, w, "ready "+image.String(), func(i selector.Install) bool {
		return i.State == selector.StateReady && i.Image == image
	})
}

func awaitState(t *testing.T, w *watched, state selector.State, detail string) {
	t.Helper()
	await(t, w, string(state)+": "+detail, func(i selector.Install) bool {
		return i.State == state && (detail == "" || i.Detail == detail)
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(testTimeout); !done(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("did not happen in time: %s", what)
		}
	}
}

// installed makes an install in a new directory, two levels below the returned one.
func installed(t *testing.T) (root, path string) {
	t.Helper()
	root = t.TempDir()
	return root, put(t, filepath.Join(mkdir(t, root, "opt", "bin"), "prog"), static().bytes())
}
