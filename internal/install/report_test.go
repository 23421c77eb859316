// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

func TestAFileThatKeepsChangingIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for lastChange, want := range map[int]int{1: 11, 20: 30, 30: 40, 31: 40, 1000: 40} {
		w := &Watcher{settle: 10 * time.Second, dirtySince: at(0), lastChange: at(lastChange)}
		if got := w.settlesAt(); !got.Equal(at(want)) {
			t.Errorf("restless since 0 and last changed at %d, it is looked at at %d, want %d", lastChange, got.Unix(), want)
		}
	}
}

func TestAChangeWithoutAnEventIsWaitedFor(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := unwatched(t, never, eventsOnly(), RootedPath{Path: path})
	now := time.Now()
	w.lastResync, w.dirtySince, w.lastChange = now, now.Add(-2*never), now.Add(-2*never)
	w.lastVersion = version{size: 1} // which the file has not any more
	w.now(func() { w.handleTimer(now) })
	if len(w.said) > 0 {
		t.Error("a file that had just changed was told")
	}
	w.now(func() { w.handleTimer(now.Add(never)) })
	if len(w.said) == 0 {
		t.Error("a file that had settled was not told")
	}
}

func TestOnlyChangesAreTold(t *testing.T) {
	t.Parallel()
	w := unwatched(t, shortSettle, eventsOnly(), RootedPath{Path: "/nothing"})
	ready := selector.Install{State: selector.StateReady, Image: selector.Image{Ino: 1}}
	steps := []struct {
		i        selector.Install
		m        version
		reported bool
	}{
		{selector.Install{}, version{}, true}, // the first, even if it is nothing
		{selector.Install{}, version{}, false},
		{ready, version{size: 1}, true},
		{ready, version{size: 1}, false},
		{ready, version{size: 2}, true},
		{ready, version{size: 2, mtime: moment{nsec: 1}}, true},
		{ready, version{size: 2, mtime: moment{nsec: 1}, ctime: moment{nsec: 1}}, true},
		{selector.Install{State: selector.StateUnready, Detail: "a"}, version{}, true},
		{selector.Install{State: selector.StateUnready, Detail: "b"}, version{}, true},
		{selector.Install{State: selector.StateUnready, Detail: "b"}, version{}, false},
	}
	for n, s := range steps {
		w.reportChange(s.i, s.m)
		reported := len(w.said) > 0
		if reported {
			<-w.said
		}
		if reported != s.reported {
			t.Errorf("step %d was told: %t", n, reported)
		}
	}
}

func TestTheStateAtTheStartIsToldWithoutAnEvent(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	awaitReady(t, watching(t, path, eventsOnly()), imageOf(t, path))
	awaitState(t, watching(t, root+"/nothing", eventsOnly()), selector.StateMissing, "")
	awaitState(t, watching(t, root, eventsOnly()), selector.StateUnready, "is a directory")
}

func TestWhatHasSettledBeforeTheStartIsToldAtOnce(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]selector.State{"/bin/sh": selector.StateReady, t.TempDir() + "/x": selector.StateMissing} {
		settle := never
		if path == "/bin/sh" {
			settle = 2 * patience // it may come from an image that was unpacked not long ago
		}
		awaitState(t, watchingWay(t, settle, eventsOnly(), RootedPath{Path: path}), want, "")
	}
}
