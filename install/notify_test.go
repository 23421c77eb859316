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

	"ebpf-upgrader/selector"
)

// pending reports whether the kernel has events for n: it puts them there before the system call
// that caused them returns.
func pending(t *testing.T, n *notifier) bool {
	t.Helper()
	raw, err := n.file.SyscallConn()
	must(t, err)
	ready := 0
	must(t, raw.Control(func(fd uintptr) {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); { // the runtime sends itself signals
			ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
	}))
	must(t, err)
	return ready > 0
}

func following(t *testing.T, path string) *notifier {
	t.Helper()
	n, err := newNotifier(path)
	must(t, err)
	t.Cleanup(func() { _ = n.close() })
	n.follow()
	return n
}

func drain(t *testing.T, n *notifier) (relevant bool) {
	t.Helper()
	for pending(t, n) {
		r, err := n.next(time.Now().Add(patience))
		must(t, err)
		relevant = relevant || r
	}
	return relevant
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
	n := following(t, path)
	for _, dir := range []string{root, filepath.Join(root, "opt")} {
		churn(t, dir)
		if pending(t, n) {
			t.Errorf("unrelated files in %q caused events", dir)
		}
	}
	churn(t, filepath.Dir(path))
	if drain(t, n) {
		t.Error("unrelated files beside the installed one mattered")
	}
	must(t, os.Chmod(path, 0o700))
	if !drain(t, n) {
		t.Error("a change of the file itself did not matter: this test proves nothing")
	}
}

func TestADirectoryThatNoLongerMattersWakesNobody(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	opt := filepath.Join(root, "opt")
	n := following(t, filepath.Join(opt, "prog"))
	mkdir(t, opt)
	put(t, filepath.Join(opt, "prog"), static().bytes())
	if !drain(t, n) {
		t.Error("the directory that was missing did not matter when it came")
	}
	n.follow()
	drain(t, n)
	churn(t, root)
	if pending(t, n) {
		t.Error("unrelated files woke us in a directory where something had been missing once")
	}
}

func TestLookingWakesNobody(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	n := following(t, path)
	requireReady(t, Check(path))
	n.follow()
	if pending(t, n) {
		t.Error("looking at the file caused events, and would do so for ever")
	}
}

// TestTwoPathsToOneDirectoryShareAWatch names it twice; through a bind mount it would be the same.
func TestTwoPathsToOneDirectoryShareAWatch(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	dir := filepath.Dir(path)
	n := following(t, path)
	points := map[string]*point{
		dir:         {},
		dir + "/.":  {names: map[string]bool{"a": true}},
		dir + "/..": {},
		dir + "//":  {names: map[string]bool{"b": true}, leaf: true},
	}
	for range 20 { // each time in another order
		n.watch(points)
		drain(t, n)
		for _, name := range []string{"a", "b"} {
			put(t, filepath.Join(dir, name), nil)
			must(t, os.Remove(filepath.Join(dir, name)))
			if !drain(t, n) {
				t.Fatalf("%q did not matter", name)
			}
		}
		put(t, filepath.Join(dir, "b"), nil)
		drain(t, n)
		must(t, os.Chmod(filepath.Join(dir, "b"), 0o700))
		if !drain(t, n) {
			t.Fatal("the mask of one path was lost")
		}
	}
	if got := n.watches.Load(); got != 2 {
		t.Errorf("%d watches, want 2", got)
	}
}

// TestAnOverflowOfTheQueueLosesNothing makes more events than the queue holds while the watcher does
// not read.
func TestAnOverflowOfTheQueueLosesNothing(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w, err := newWatcher(path, shortSettle, eventsOnly())
	must(t, err)
	w.notify.follow()
	w.tell(look(path))
	w.lastLook = time.Now()
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
	image := replace(t, path, static().bytes()) // nobody hears of this one
	go func() {
		defer close(w.done)
		defer close(w.changes)
		w.loop()
	}()
	defer func() { must(t, w.Close()) }()
	awaitReady(t, w, image)
	if w.Stats().Overflows == 0 {
		t.Error("the queue did not overflow: this test proves nothing")
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	_, path := installed(t)
	_ = Check(path) // os and the runtime open what they keep
	w := watching(t, path, eventsOnly())
	must(t, w.Close())
	before, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 50 {
		w, err := Watch(path, shortSettle)
		must(t, err)
		awaitReady(t, w, imageOf(t, path))
		replace(t, path, static().bytes()) // it may be about to tell, or not
		must(t, w.Close())
		must(t, w.Close())
		for range w.Changes() { // what was told may still be taken, then the channel is closed
		}
	}
	_ = Settled(t.Context(), path, time.Millisecond)
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if after := openFiles(t); after != before {
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
	w, err := Watch(path, never)
	must(t, err)
	done := make(chan error)
	for range 8 {
		go func() { done <- w.Close() }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if i := Check("/bin/sh"); i.State != selector.StateReady {
			b.Fatalf("%+v", i)
		}
	}
}
