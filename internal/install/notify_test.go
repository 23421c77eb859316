// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
)

// quiet is a Watcher whose notifier nobody reads but the test.
type quiet struct {
	*Watcher
	t *testing.T
}

func following(t *testing.T, path string) *quiet {
	t.Helper()
	q := unbegun(t, RootedPath{Path: path})
	q.now((*Watcher).rewatch)
	return q
}

func unbegun(t *testing.T, path RootedPath) *quiet {
	t.Helper()
	h := &Hub{
		settle: shortSettle, intervals: eventsOnly(), notify: newNotifier(), started: time.Now(), cache: newCache(),
		meter: budget.NewMeter(checkLimit()), watchers: make(map[*Watcher]bool), users: make(map[uint32]*userBudget),
	}
	t.Cleanup(h.Close)
	return &quiet{h.newWatcher(path, func(selector.Install) {}), t}
}

// now does what the goroutine does when a file is to be looked at.
func (q *quiet) now(act func(w *Watcher)) { q.withRoot(func(time.Time) { act(q.Watcher) }) }

// pending reports whether the kernel has events: it puts them there before the system call that
// caused them returns.
func (q *quiet) pending() bool {
	q.t.Helper()
	raw, err := q.hub.notify.file.SyscallConn()
	must(q.t, err)
	ready := 0
	must(q.t, raw.Control(func(fd uintptr) {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); { // the runtime sends itself signals
			ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
	}))
	must(q.t, err)
	return ready > 0
}

// drain reads what there is, and reports whether any of it mattered.
func (q *quiet) drain() bool {
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

// churn does in dir what an unrelated program does.
func churn(t *testing.T, dir string) {
	t.Helper()
	for i := range 50 {
		name := filepath.Join(dir, "unrelated"+strconv.Itoa(i))
		put(t, name, []byte("x"))
		must(t, os.Rename(name, name+".new"))
		must(t, os.Remove(name+".new"))
	}
}

func TestUnrelatedFilesWakeNobody(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	q := following(t, path)
	for _, dir := range []string{root, filepath.Join(root, "opt")} {
		churn(t, dir)
		if q.pending() {
			t.Errorf("unrelated files in %q caused events", dir)
		}
	}
	// Something else may happen to the installed file once, as when a process that was forked beside its writing ends.
	mattered := true
	for try := 0; try < 3 && mattered; try++ {
		churn(t, filepath.Dir(path))
		mattered = q.drain()
	}
	if mattered {
		t.Error("unrelated files beside the installed one mattered, three times in a row")
	}
	must(t, os.Chmod(path, 0o700))
	if !q.drain() {
		t.Error("a change of the file itself did not matter: this test proves nothing")
	}
}

// TestAWatchThatNobodyNeedsIsGivenUp: that of a directory in which something was missing, and was then
// found elsewhere.
func TestAWatchThatNobodyNeedsIsGivenUp(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	elsewhere := mkdir(t, t.TempDir(), "elsewhere")
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(elsewhere+"/prog", link))
	q := following(t, link)
	must(t, os.Remove(link))
	must(t, os.Symlink(path, link))
	if !q.drain() {
		t.Error("the link that was turned did not matter")
	}
	q.now((*Watcher).rewatch)
	eventually(t, "the watch of the directory that the link led to is given up", func() bool {
		q.drain()
		churn(t, elsewhere)
		return !q.pending()
	})
}

func TestLookingWakesNobody(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := following(t, path)
	requireReady(t, Check(RootedPath{Path: path}))
	q.now((*Watcher).rewatch)
	if q.pending() {
		t.Error("looking at the file caused events, and would do so for ever")
	}
}

// TestTwoPathsToOneDirectoryShareAWatch names it twice; through a bind mount it would be the same.
func TestTwoPathsToOneDirectoryShareAWatch(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	dir := filepath.Dir(path)
	q := following(t, path)
	points := map[string]*watchPoint{
		dir:         {},
		dir + "/.":  {names: map[string]bool{"a": true}},
		dir + "/..": {},
		dir + "//":  {names: map[string]bool{"b": true}, hasEnd: true},
	}
	for range 20 { // each time in another order
		q.now(func(w *Watcher) { w.addWatches(points) })
		q.drain()
		for _, name := range []string{"a", "b"} {
			put(t, filepath.Join(dir, name), nil)
			must(t, os.Remove(filepath.Join(dir, name)))
			if !q.drain() {
				t.Fatalf("%q did not matter", name)
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

// TestTwoWaysToOneDirectoryShareItsWatches, and the one that goes takes none from the other.
func TestTwoWaysToOneDirectoryShareItsWatches(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	h := newHub(shortSettle, eventsOnly())
	defer h.Close()
	watch := func() *watched {
		w := &watched{said: make(chan selector.Install, 1)}
		w.Watcher = h.Watch(RootedPath{Path: path}, w.put)
		awaitReady(t, w, imageOf(t, path))
		return w
	}
	one := watch()
	alone := h.Stats().Watches
	other := watch()
	if both := h.Stats().Watches; both != alone {
		t.Errorf("%d watches for two ways, %d for one", both, alone)
	}
	image := replace(t, path, static().bytes())
	awaitReady(t, one, image)
	awaitReady(t, other, image)
	one.Close()
	awaitReady(t, other, replace(t, path, static().bytes()))
	other.Close()
	if s := h.Stats(); s.Watches != 0 || s.Paths != 0 {
		t.Errorf("with nothing to watch: %+v", s)
	}
}

// TestAnOverflowOfTheQueueLosesNothing makes more events than the queue holds while nobody reads.
func TestAnOverflowOfTheQueueLosesNothing(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := following(t, path)
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
	replace(t, path, static().bytes()) // nobody hears of this one
	if !q.drain() {
		t.Error("nobody was told that events were lost")
	}
	if q.hub.Stats().Overflows == 0 {
		t.Error("the queue did not overflow: this test proves nothing")
	}
}

// TestOverflowsHaveEverybodyLookNowAndThen, whatever makes them.
func TestOverflowsHaveEverybodyLookNowAndThen(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	q := following(t, path)
	looks, begin := 0, time.Now()
	for range 100 {
		q.hub.notify.mu.Lock()
		q.hub.notify.overflow()
		q.hub.notify.mu.Unlock()
		if q.drain() {
			looks++
		}
	}
	took := time.Since(begin) // of a busy machine, it may be long
	if most := 2 + int(took/overflowInterval); looks > most {
		t.Errorf("100 overflows within %s led to %d looks, want at most %d", took, looks, most)
	}
	eventually(t, "there is a look after the last overflow", q.drain)
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	_, path := installed(t)
	_ = Check(RootedPath{Path: path}) // os and the runtime open what they keep
	watchingWay(t, shortSettle, eventsOnly(), RootedPath{Path: path}).hub.Close()
	before, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 50 {
		w := watchingWay(t, shortSettle, eventsOnly(), RootedPath{Path: path})
		awaitReady(t, w, imageOf(t, path))
		replace(t, path, static().bytes()) // it may be about to tell, or not
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

func TestCloseFromManySides(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchingWay(t, never, eventsOnly(), RootedPath{Path: path})
	done := make(chan bool)
	for range 8 {
		go func() { w.Close(); done <- true }()
	}
	for range 8 {
		<-done
	}
}
