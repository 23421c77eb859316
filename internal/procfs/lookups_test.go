// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
)

// opening is a lookup that opens a FIFO, which blocks until there is a writer.
type opening struct {
	path string
	fd   int
}

func newOpening(t *testing.T) opening {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	return opening{path, fd}
}

func (o opening) lookUp() (selector.File, error) {
	fd, err := unix.Open(o.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return selector.File{}, err
	}
	return selector.File{UID: 7}, unix.Close(fd)
}

func (o opening) release(t *testing.T) {
	t.Helper()
	fd, err := unix.Open(o.path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
}

func about(pid selector.PID) lookupKey {
	return lookupKey{id: selector.Identity{PID: pid}, name: "/file"}
}

func TestLookup_InTime_IsUsed(t *testing.T) {
	t.Parallel()
	l := newLookups()
	o := newOpening(t)
	o.release(t)
	for {
		r, err := l.run(about(1), selector.User{UID: 7}, time.Time{}, o.fd, o.lookUp)
		if errors.Is(err, errFileTimeout) {
			continue // a slow machine; the next run has the result
		}
		if err != nil || r.err != nil || r.file.UID != 7 {
			t.Errorf("run = %+v, %v", r, err)
		}
		break
	}
	if n := l.stuck[selector.User{UID: 7}]; n > 0 {
		t.Errorf("%d stuck", n)
	}
}

func TestLookup_Late_ServesNextInspection(t *testing.T) {
	t.Parallel()
	l := newLookups()
	o := newOpening(t)
	if _, err := l.run(about(1), selector.User{UID: 7}, time.Time{}, o.fd, o.lookUp); !errors.Is(err, errFileTimeout) {
		t.Fatalf("run = %v, want a timeout", err)
	}
	count := func() (selector.File, error) {
		t.Error("a second lookup started while the first is stuck")
		return selector.File{}, nil
	}
	if _, err := l.run(about(1), selector.User{UID: 7}, time.Time{}, descriptor(t), count); !errors.Is(err, errFileTimeout) {
		t.Errorf("run = %v while the first lookup is stuck, want a timeout", err)
	}
	o.release(t)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		r, err := l.run(about(1), selector.User{UID: 7}, time.Time{}, descriptor(t), count)
		if err == nil && r.err == nil && r.file.UID == 7 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("the late result is never used: %v", err)
		case <-tick.C:
		}
	}
}

// The result of a lookup that began before an install may be the file that was replaced.
func TestLookup_LateAndTooOld_RunsAgain(t *testing.T) {
	t.Parallel()
	l := newLookups()
	o := newOpening(t)
	if _, err := l.run(about(1), selector.User{UID: 7}, time.Time{}, o.fd, o.lookUp); !errors.Is(err, errFileTimeout) {
		t.Fatalf("run = %v, want a timeout", err)
	}
	since := time.Now()
	o.release(t)
	anew := func() (selector.File, error) { return selector.File{UID: 8}, nil }
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, err := l.run(about(1), selector.User{UID: 7}, since, descriptor(t), anew)
		switch {
		case err == nil && r.file.UID == 8 && r.started.After(since):
			return
		case err == nil:
			t.Fatalf("run = %+v, started %s before since", r.file, since.Sub(r.started))
		case time.Now().After(deadline):
			t.Fatalf("the lookup is never repeated: %v", err)
		}
	}
}

func descriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// A user may have four stuck lookups, and a share of the time.
func TestLookup_StuckFileSystems_LimitTheirUser(t *testing.T) {
	t.Parallel()
	l := newLookups()
	var last opening
	for pid := range selector.PID(budget.MaxStuck) {
		last = newOpening(t)
		defer last.release(t)
		if _, err := l.run(about(pid+1), selector.User{UID: 7}, time.Time{}, last.fd, last.lookUp); !errors.Is(err, errFileTimeout) {
			t.Fatalf("run = %v, want a timeout", err)
		}
	}
	refused := func() (selector.File, error) { t.Error("a fifth lookup started"); return selector.File{}, nil }
	if _, err := l.run(about(1000), selector.User{UID: 7}, time.Time{}, descriptor(t), refused); !errors.Is(err, errTooManyStuck) {
		t.Errorf("run = %v, want errTooManyStuck", err)
	}
	other := about(1000)
	if _, limit, err := l.admit(other, selector.User{UID: 8}, time.Time{}, fileTimeout); err != nil || limit != fileTimeout {
		t.Errorf("another user: limit %s, %v", limit, err)
	}
	l.charge(selector.User{UID: 8}, time.Hour)
	if _, limit, err := l.admit(other, selector.User{UID: 8}, time.Time{}, fileTimeout); err != nil || limit != 0 {
		t.Errorf("a user in debt: limit %s, %v, want 0", limit, err)
	}
}

// TestWaitFor_Starved_IsAwaited: a read that has no processor is not taken for one that blocks. No other test runs beside it:
// a thread that the read has left could block in a lookup of that test.
func TestWaitFor_Starved_IsAwaited(t *testing.T) {
	const limit = 20 * time.Millisecond
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zero.Close() }()
	page := make([]byte, 1<<20)
	work := func() { // the kernel is busy in each of the calls
		for start := time.Now(); time.Since(start) < 3*limit; {
			_, _ = unix.Read(int(zero.Fd()), page)
		}
	}
	r := newResult()
	isDone, charged := r.waitFor(limit, work)
	<-r.done
	if !isDone || charged > limit {
		t.Errorf("a thread that runs is done: %t, and %s are charged, want true and %s at most", isDone, charged, limit)
	}
	o := newOpening(t)
	r = newResult()
	if isDone, _ = r.waitFor(limit, func() { _, _ = o.lookUp() }); isDone {
		t.Error("a thread that waits for a file is done")
	}
	o.release(t)
	<-r.done
}
