// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// churn makes the changes of an unrelated program in dir.
func churn(t *testing.T, dir string) {
	t.Helper()
	for i := range 50 {
		name := filepath.Join(dir, "unrelated"+strconv.Itoa(i))
		put(t, name, []byte("x"))
		must(t, os.Rename(name, name+".new"))
		must(t, os.Remove(name+".new"))
	}
}

func TestWatch_UnrelatedFiles_CauseNoWakeup(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	q := startedManual(t, path)
	for _, dir := range []string{root, filepath.Join(root, "opt")} {
		churn(t, dir)
		if q.pending() {
			t.Errorf("unrelated files in %q caused events", dir)
		}
	}
	// One other event on the installed file is possible, as when a child that was forked during its writing ends.
	mattered := true
	for try := 0; try < 3 && mattered; try++ {
		churn(t, filepath.Dir(path))
		mattered = q.drain()
	}
	if mattered {
		t.Error("unrelated files beside the installed one caused wake-ups, three times in a row")
	}
	must(t, os.Chmod(path, 0o700))
	if !q.drain() {
		t.Error("a change of the file itself caused no wake-up: the test proves nothing")
	}
}

// The directory had a missing entry, which was then found elsewhere.
func TestWatches_Unused_AreRemoved(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	elsewhere := mkdir(t, t.TempDir(), "elsewhere")
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(elsewhere+"/prog", link))
	q := startedManual(t, link)
	must(t, os.Remove(link))
	must(t, os.Symlink(path, link))
	if !q.drain() {
		t.Error("the changed link caused no wake-up")
	}
	q.now((*Watcher).rewatch)
	eventually(t, "the watch of the link's old target is removed", func() bool {
		q.drain()
		churn(t, elsewhere)
		return !q.pending()
	})
}

func TestCheck_WatchedFile_CausesNoEvent(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := startedManual(t, path)
	requireReady(t, Check(RootedPath{Path: path}))
	q.now((*Watcher).rewatch)
	if q.pending() {
		t.Error("a check of the file caused events, and would do so for ever")
	}
}

// Two paths to a directory are like a bind mount of it.
func TestWatches_TwoPathsToDirectory_AreShared(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	dir := filepath.Dir(path)
	q := startedManual(t, path)
	points := []*watchPoint{
		{path: dir}, {path: dir + "/.", names: []string{"a"}}, {path: dir + "/.."}, {path: dir + "//", names: []string{"b"}, hasEnd: true},
	}
	for range 20 {
		rand.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		q.now(func(w *Watcher) { w.watchAll(points) })
		q.drain()
		for _, name := range []string{"a", "b"} {
			put(t, filepath.Join(dir, name), nil)
			must(t, os.Remove(filepath.Join(dir, name)))
			if !q.drain() {
				t.Fatalf("%q caused no wake-up", name)
			}
		}
		put(t, filepath.Join(dir, "b"), nil)
		q.drain()
		must(t, os.Chmod(filepath.Join(dir, "b"), 0o700))
		if !q.drain() {
			t.Fatal("the mask of one path was lost")
		}
	}
	if got := q.hub.Stats().Watches; got != 2 {
		t.Errorf("%d watches, want 2", got)
	}
}

// The end of one Watcher removes no watch of the other.
func TestWatches_TwoWatchers_AreShared(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	h := newHub(shortSettle, eventsOnly())
	defer h.Close()
	watch := func() *watched {
		w := &watched{reports: make(chan selector.Install, 1)}
		w.Watcher = h.Watch(RootedPath{Path: path}, w.put)
		awaitReady(t, w, imageOf(t, path))
		return w
	}
	one := watch()
	alone := h.Stats().Watches
	other := watch()
	if both := h.Stats().Watches; both != alone {
		t.Errorf("%d watches for two paths, %d for one", both, alone)
	}
	image := replace(t, path, static().bytes())
	awaitReady(t, one, image)
	awaitReady(t, other, image)
	one.Close()
	awaitReady(t, other, replace(t, path, static().bytes()))
	other.Close()
	if s := h.Stats(); s.Watches != 0 || s.Paths != 0 {
		t.Errorf("without paths: %+v", s)
	}
}

// inotify_add_watch returns the descriptor of an existing watch, which is removed before it is registered.
func TestWatches_RemovedWhileAdded_AreAddedAgain(t *testing.T) {
	t.Parallel()
	n := newNotifier(watchLimits())
	defer n.close()
	fd, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	_, err = n.add(selector.User{}, fd, maskSelf)
	must(t, err)
	before := n.countRemovals()
	wd, err := n.addToKernel(fd, maskSelf)
	must(t, err)
	n.mu.Lock()
	n.watches[wd].unusedSince = time.Now().Add(-unusedTTL)
	n.mu.Unlock()
	n.sweep()
	if err := n.register(wd, selector.User{}, before); !errors.Is(err, errRemoved) {
		t.Errorf("a removed watch is registered: %v", err)
	}
	again, err := n.add(selector.User{}, fd, maskSelf)
	if err != nil || again == wd {
		t.Errorf("it is added again as %d, was %d: %v", again, wd, err)
	}
}

func TestWatches_RemovedBeforeSubscription_AreLost(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := startedManual(t, path)
	q.drain()
	q.hub.notify.replace(q.Watcher, []subscription{{wd: 1 << 20}})
	if !q.drain() || !q.watchLost.Load() {
		t.Error("the watcher is not woken for a watch that was removed")
	}
}

// There are more events than the queue holds, and no read.
func TestOverflow_Queue_LosesNoChange(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := startedManual(t, path)
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	room, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	dir := filepath.Dir(path)
	a, b := put(t, filepath.Join(dir, "a"), nil), filepath.Join(dir, "b")
	for range room/4 + 10 { // four events each, none like the one before
		must(t, os.Rename(a, b))
		must(t, os.Rename(b, a))
	}
	replace(t, path, static().bytes()) // its event is lost
	if !q.drain() {
		t.Error("no wake-up for the lost events")
	}
	if q.hub.Stats().Overflows == 0 {
		t.Error("the queue did not overflow: the test proves nothing")
	}
}

// However many overflows there are, all paths are checked at most once per interval.
func TestOverflow_Many_AreCoalesced(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := startedManual(t, path)
	wakeups, begin := 0, time.Now()
	for range 100 {
		q.hub.notify.mu.Lock()
		q.hub.notify.overflow()
		q.hub.notify.mu.Unlock()
		if q.drain() {
			wakeups++
		}
	}
	took := time.Since(begin) // of a busy machine, it may be long
	if most := 2 + int(took/overflowInterval); wakeups > most {
		t.Errorf("100 overflows within %s led to %d wake-ups, want at most %d", took, wakeups, most)
	}
	eventually(t, "a wake-up follows the last overflow", q.drain)
}

func TestClose_Hub_LeavesNoDescriptor(t *testing.T) {
	_, path := installed(t)
	_ = Check(RootedPath{Path: path}) // os and the runtime open descriptors that they keep
	watchPath(t, shortSettle, eventsOnly(), RootedPath{Path: path}).hub.Close()
	before, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 50 {
		w := watchPath(t, shortSettle, eventsOnly(), RootedPath{Path: path})
		awaitReady(t, w, imageOf(t, path))
		replace(t, path, static().bytes()) // with or without a report under way
		w.Close()
		w.Close()
		w.hub.Close()
		w.hub.Close()
	}
	_ = settled(t.Context(), path, time.Millisecond)
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if after := openFiles(t); after > before { // other tests may have closed some
		t.Errorf("%d files are open, were %d", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestClose_Concurrent_ReportsNothing(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchPath(t, never, eventsOnly(), RootedPath{Path: path})
	done := make(chan bool)
	for range 8 {
		go func() { w.Close(); done <- true }()
	}
	for range 8 {
		<-done
	}
}
