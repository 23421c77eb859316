// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// opening asks by opening a FIFO, which waits until somebody opens it for writing.
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

func (o opening) ask() (selector.File, error) {
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
		r, err := l.run(about(1), 7, time.Time{}, o.fd, o.ask)
		if errors.Is(err, errFileTimeout) {
			continue // on a machine as slow as that; the next look has it
		}
		if err != nil || r.err != nil || r.file.UID != 7 {
			t.Errorf("within = %+v, %v", r, err)
		}
		break
	}
	if n := l.stuck[7]; n > 0 {
		t.Errorf("%d stuck", n)
	}
}

func TestLookup_Late_ServesNextInspection(t *testing.T) {
	t.Parallel()
	l := newLookups()
	o := newOpening(t)
	if _, err := l.run(about(1), 7, time.Time{}, o.fd, o.ask); !errors.Is(err, errFileTimeout) {
		t.Fatalf("within = %v, want no answer", err)
	}
	count := func() (selector.File, error) { t.Error("asked again while it waits"); return selector.File{}, nil }
	if _, err := l.run(about(1), 7, time.Time{}, descriptor(t), count); !errors.Is(err, errFileTimeout) {
		t.Errorf("asked again while it waits: %v", err)
	}
	o.release(t)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		r, err := l.run(about(1), 7, time.Time{}, descriptor(t), count)
		if err == nil && r.err == nil && r.file.UID == 7 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("the answer is never taken: %v", err)
		case <-tick.C:
		}
	}
}

// TestLookup_LateAndTooOld_RunsAgain: what was asked before an install may be of the file that it replaced.
func TestLookup_LateAndTooOld_RunsAgain(t *testing.T) {
	t.Parallel()
	l := newLookups()
	o := newOpening(t)
	if _, err := l.run(about(1), 7, time.Time{}, o.fd, o.ask); !errors.Is(err, errFileTimeout) {
		t.Fatalf("within = %v, want no answer", err)
	}
	since := time.Now()
	o.release(t)
	anew := func() (selector.File, error) { return selector.File{UID: 8}, nil }
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, err := l.run(about(1), 7, since, descriptor(t), anew)
		switch {
		case err == nil && r.file.UID == 8 && r.started.After(since):
			return
		case err == nil:
			t.Fatalf("got %+v, asked %s before it may have been", r.file, since.Sub(r.started))
		case time.Now().After(deadline):
			t.Fatalf("it is never asked for anew: %v", err)
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

// TestLookup_StuckFileSystems_LimitTheirUser: four threads, and of the time a share.
func TestLookup_StuckFileSystems_LimitTheirUser(t *testing.T) {
	t.Parallel()
	l := newLookups()
	var last opening
	for pid := range selector.PID(maxStuck) {
		last = newOpening(t)
		defer last.release(t)
		if _, err := l.run(about(pid+1), 7, time.Time{}, last.fd, last.ask); !errors.Is(err, errFileTimeout) {
			t.Fatalf("within = %v, want no answer", err)
		}
	}
	refused := func() (selector.File, error) { t.Error("asked"); return selector.File{}, nil }
	if _, err := l.run(about(1000), 7, time.Time{}, descriptor(t), refused); !errors.Is(err, errTooManyStuck) {
		t.Errorf("within = %v, want a refusal", err)
	}
	other := about(1000)
	if _, limit, err := l.admit(other, 8, time.Time{}, fileTimeout); err != nil || limit != fileTimeout {
		t.Errorf("another user is given %s, %v", limit, err)
	}
	l.charge(8, time.Hour)
	if _, limit, err := l.admit(other, 8, time.Time{}, fileTimeout); err != nil || limit != 0 {
		t.Errorf("who has had his share of the time is waited for %s, %v", limit, err)
	}
}
