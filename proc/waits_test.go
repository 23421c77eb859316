// SPDX-License-Identifier: MIT

//go:build linux

package proc

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

func TestAnswerInTimeIsTaken(t *testing.T) {
	t.Parallel()
	var w waits
	o := newOpening(t)
	o.release(t)
	if f, err := w.within(selector.Identity{PID: 1}, o.fd, o.ask); err != nil || f.UID != 7 {
		t.Errorf("within = %+v, %v", f, err)
	}
	if len(w.stuck) != 0 {
		t.Errorf("still stuck: %v", w.stuck)
	}
}

func TestProcessIsAskedForAgainWhenItsFileSystemAnswered(t *testing.T) {
	t.Parallel()
	var w waits
	id := selector.Identity{PID: 1, StartTime: 2}
	o := newOpening(t)
	if _, err := w.within(id, o.fd, o.ask); !errors.Is(err, errNoAnswer) {
		t.Fatalf("within = %v, want no answer", err)
	}
	if err := w.refuses(id); !errors.Is(err, errNoAnswer) {
		t.Errorf("asked again while it waits: %v", err)
	}
	if err := w.refuses(selector.Identity{PID: 1, StartTime: 3}); err != nil {
		t.Errorf("another process with its number: %v", err)
	}
	o.release(t)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.refuses(id) != nil {
		select {
		case <-deadline:
			t.Fatal("it is never asked again")
		case <-tick.C:
		}
	}
}

func TestNumberOfStuckLookUpsIsBounded(t *testing.T) {
	t.Parallel()
	var w waits
	for pid := range mostStuck {
		w.remember(selector.Identity{PID: selector.PID(pid + 1)})
	}
	o := newOpening(t)
	if _, err := w.within(selector.Identity{PID: 1000}, o.fd, o.ask); !errors.Is(err, errManyStuck) {
		t.Errorf("within = %v, want a refusal", err)
	}
}
