// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// opensOf counts the opens of a file from now on, except those with O_PATH.
func opensOf(t *testing.T, path string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
	must(t, err)
	n := 0
	return func() int {
		buf := make([]byte, 4<<10)
		for {
			got, err := unix.Read(fd, buf)
			if errors.Is(err, unix.EAGAIN) {
				return n
			}
			must(t, err)
			n += got / unix.SizeofInotifyEvent
		}
	}
}

// old waits until the file has not changed for more than a clock tick of its file system.
func old(t *testing.T, path string) {
	t.Helper()
	s := inspector{checker: NewChecker()}
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer func() { _ = unix.Close(root) }()
	s.root = root
	m := s.versionOf(path)
	for time.Since(m.Changed.time()) < clockTick {
		time.Sleep(time.Millisecond)
	}
}

func rapidIntervals() intervals {
	return intervals{resync: 5 * time.Millisecond, retry: 5 * time.Millisecond}
}

func TestHub_UnreadyFile_IsOpenedOnce(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	must(t, os.WriteFile(path, static().bytes()[:100], 0o755))
	old(t, path)
	opens := opensOf(t, path)
	w := notStarted(t, shortSettle, rapidIntervals(), RootedPath{Path: path})
	for range 20 {
		w.now(func() { w.start(time.Now()) })
		if n := opens(); n != 1 {
			t.Fatalf("the file was opened %d times, want once", n)
		}
		w.now(func() { w.resync(time.Now()) })
	}
	if i := w.Check(); i.State != selector.StateUnready || opens() != 1 {
		t.Errorf("%+v after %d opens", i, opens())
	}
}

func TestHub_SecondPathOfFile_OpensNothing(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	old(t, path)
	hub := newHub(shortSettle, eventsOnly())
	t.Cleanup(hub.Close)
	opens := opensOf(t, path)
	for _, owner := range []uint32{4001, 4002} {
		w := hub.newWatcher(RootedPath{Path: path, Owner: selector.User{UID: owner}}, func(selector.Install) {})
		requireReady(t, w.Check())
	}
	if n := opens(); n != 1 {
		t.Errorf("the file was opened %d times, want once", n)
	}
}

// The results of an earlier process are in a file.
func TestHub_RestoredChecks_OpensNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	interpreter := put(t, filepath.Join(dir, "in\xfft"), static().bytes())
	ready := put(t, filepath.Join(dir, "ready"), []byte("#!"+interpreter+"\n"))
	cut := put(t, filepath.Join(dir, "cut"), static().bytes()[:100])
	old(t, cut)
	first := newHub(shortSettle, eventsOnly())
	want := map[string]selector.Install{}
	for _, path := range []string{ready, cut} {
		want[path] = first.Checker().check(RootedPath{Path: path})
	}
	text, err := json.Marshal(first.Checker().CachedChecks())
	must(t, err)
	first.Close()
	var kept []CachedCheck
	must(t, json.Unmarshal(text, &kept))
	second := newHub(shortSettle, eventsOnly())
	t.Cleanup(second.Close)
	second.Checker().RestoreChecks(kept)
	for _, path := range []string{ready, cut} {
		opens, interpreters := opensOf(t, path), opensOf(t, interpreter)
		got := second.Checker().check(RootedPath{Path: path})
		if opens()+interpreters() > 0 {
			t.Errorf("%s was opened again", path)
		}
		if w := want[path]; got.State != w.State || got.Detail != w.Detail || len(got.Interpreters) != len(w.Interpreters) {
			t.Errorf("%s is %+v, and was %+v", path, got, w)
		}
	}
}

func TestHub_OpenForWriting_IsOpenedAgainWhenClosed(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	old(t, path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	opens := opensOf(t, path)
	var wakeups atomic.Int64
	w := watchPath(t, shortSettle, rapidIntervals(), RootedPath{Path: path, Root: func() (int, error) {
		wakeups.Add(1)
		return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}})
	awaitState(t, w, selector.StateUnready, "is open for writing")
	for begin, deadline := wakeups.Load(), time.Now().Add(testTimeout); wakeups.Load() < begin+20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within %s there were not 20 checks more", testTimeout)
		}
	}
	if n := opens(); n != 1 {
		t.Errorf("the file was opened %d times while it was open for writing, want once", n)
	}
	must(t, f.Close())
	awaitState(t, w, selector.StateReady, "")
}

func TestCache_OneUserHasMany_OthersStay(t *testing.T) {
	t.Parallel()
	a := NewChecker()
	of := func(ino uint64) cacheKey { return cacheKey{version: version{Image: selector.Image{Ino: ino}}} }
	ready := func() examination { return examination{} }
	_ = a.get(of(1), selector.User{UID: 1}, ready)
	for i := range uint64(2 * maxCached) {
		_ = a.get(of(i+2), selector.User{UID: 2}, ready)
	}
	if len(a.all) > maxCached || a.all[of(1)] == nil {
		t.Errorf("%d entries, that of the other user is kept: %t", len(a.all), a.all[of(1)] != nil)
	}
}

// The detail of the install is that the content was not read.
func TestStat_AnyFile_OpensNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		mode  os.FileMode
		state selector.State
	}{"program": {0o755, selector.StateReady}, "text": {0o644, selector.StateUnready}} {
		path := filepath.Join(dir, name)
		putMode(t, path, []byte("no program"), c.mode)
		opens := opensOf(t, path)
		i := Stat(RootedPath{Path: path})
		if i.State != c.state || i.Image != imageOf(t, path) || i.Detail == "" {
			t.Errorf("%s is %+v", name, i)
		}
		if n := opens(); n > 0 {
			t.Errorf("%s was opened %d times", name, n)
		}
	}
	if i := Stat(RootedPath{Path: dir + "/nothing"}); i.State != selector.StateMissing {
		t.Errorf("nothing is %+v", i)
	}
}

// Neither the file nor the directory is opened or watched until the mode of the directory lets the user in.
func TestPath_UserMayNotSearch_OpensNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root, path := installed(t)
	home := filepath.Dir(path)
	must(t, os.Chmod(home, 0o700))
	link := filepath.Join(root, "link")
	must(t, os.Symlink(path, link))
	old(t, path)
	opens := opensOf(t, path)
	as := func(who ...selector.Credentials) RootedPath {
		return RootedPath{Path: link, Owner: selector.User{UID: 4000}, Credentials: func() []selector.Credentials { return who }, Root: below("/", "").Root}
	}
	must(t, os.Chmod(filepath.Dir(root), 0o755))
	must(t, os.Chmod(root, 0o755))
	stranger := selector.Credentials{UID: 4000, GID: 4000}
	w := watchPath(t, shortSettle, eventsOnly(), as(stranger))
	awaitState(t, w, selector.StateUnready, "uid 4000 may not search "+home)
	awaitState(t, watchPath(t, shortSettle, eventsOnly(), as()), selector.StateUnready, errUnknownUser.Error())
	must(t, os.Chtimes(path, time.Now(), time.Now()))
	if i := w.Check(); i.State != selector.StateUnready || i.Known() {
		t.Errorf("reported %+v", i)
	}
	if n := opens(); n > 0 {
		t.Errorf("the file was opened %d times", n)
	}
	w.hub.notify.mu.Lock()
	for _, spot := range w.hub.notify.watches {
		if spot.names["prog"] != nil {
			t.Error("the directory is watched")
		}
	}
	w.hub.notify.mu.Unlock()
	must(t, os.Chmod(home, 0o711))
	awaitState(t, w, selector.StateReady, "")
}

// Mode and owner of an interpreter decide whether a user may exec it.
func TestPrograms_Interpreter_HasModeAndOwner(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	interpreter := filepath.Join(dir, "interp")
	putMode(t, interpreter, static().bytes(), 0o700)
	script := put(t, filepath.Join(dir, "script"), []byte("#!"+interpreter+"\n"))
	i := Check(RootedPath{Path: script})
	requireReady(t, i)
	if len(i.Programs) != 1 || i.Programs[0].Image != imageOf(t, interpreter) || i.Programs[0].Mode&0o777 != 0o700 {
		t.Errorf("programs are %+v", i.Programs)
	}
}
