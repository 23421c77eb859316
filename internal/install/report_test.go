// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

func TestReport_EndlessChanges_ComesInTime(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for lastChange, want := range map[int]int{1: 11, 20: 30, 30: 40, 31: 40, 1000: 40} {
		w := &Watcher{hub: &Hub{settle: 10 * time.Second}, dirtySince: at(0), lastChange: at(lastChange)}
		if got := w.settlesAt(); !got.Equal(at(want)) {
			t.Errorf("dirty since 0 and last changed at %d: settles at %d, want %d", lastChange, got.Unix(), want)
		}
	}
}

func TestReport_ChangeWithoutEvent_Settles(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := notStarted(t, never, eventsOnly(), RootedPath{Path: path})
	now := time.Now()
	w.lastResync, w.dirtySince, w.lastChange = now, now.Add(-2*never), now.Add(-2*never)
	w.lastVersion = version{Size: 1} // an earlier version of the file
	w.now(func() { w.handleTimer(now) })
	if len(w.reports) > 0 {
		t.Error("a file that had just changed was reported")
	}
	w.now(func() { w.handleTimer(now.Add(never)) })
	if len(w.reports) == 0 {
		t.Error("a settled file was not reported")
	}
}

func TestReport_NoChange_IsLeftOut(t *testing.T) {
	t.Parallel()
	w := notStarted(t, shortSettle, eventsOnly(), RootedPath{Path: "/nothing"})
	ready := selector.Install{State: selector.StateReady, Image: selector.Image{Ino: 1}}
	steps := []struct {
		i        selector.Install
		m        version
		reported bool
	}{
		{selector.Install{}, version{}, true}, // the first, even without a file
		{selector.Install{}, version{}, false},
		{ready, version{Size: 1}, true},
		{ready, version{Size: 1}, false},
		{ready, version{Size: 2}, true},
		{ready, version{Size: 2, Modified: moment{0, 1}}, true},
		{ready, version{Size: 2, Modified: moment{0, 1}, Changed: moment{0, 1}}, true},
		{selector.Install{State: selector.StateUnready, Detail: "a"}, version{}, true},
		{selector.Install{State: selector.StateUnready, Detail: "b"}, version{}, true},
		{selector.Install{State: selector.StateUnready, Detail: "b"}, version{}, false},
	}
	for n, s := range steps {
		w.reportChange(s.i, s.m)
		reported := len(w.reports) > 0
		if reported {
			<-w.reports
		}
		if reported != s.reported {
			t.Errorf("step %d was reported: %t", n, reported)
		}
	}
}

func TestReport_Start_NeedsNoEvent(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	awaitReady(t, watchFile(t, path, eventsOnly()), imageOf(t, path))
	awaitState(t, watchFile(t, root+"/nothing", eventsOnly()), selector.StateMissing, "")
	awaitState(t, watchFile(t, root, eventsOnly()), selector.StateUnready, "is a directory")
}

func TestReport_SettledBefore_ComesAtOnce(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]selector.State{"/bin/sh": selector.StateReady, t.TempDir() + "/x": selector.StateMissing} {
		settle := never
		if path == "/bin/sh" {
			settle = 2 * testTimeout // it may have been unpacked a moment ago
		}
		awaitState(t, watchPath(t, settle, eventsOnly(), RootedPath{Path: path}), want, "")
	}
}
