// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// What belongs to the whole host is shared by the runs on it, also by runs in namespaces of their own: they lock files.
const (
	clockLock   = "/tmp/ebpf-upgrader-chaos.clock"
	queueLock   = "/tmp/ebpf-upgrader-chaos.queue"
	watchesLock = "/tmp/ebpf-upgrader-chaos.watches"
)

// locked opens a file and takes a lock of it, which ends when the file is closed.
func locked(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
	}
}

// eventQueue limits the queue of each new inotify instance, and userWatches the watches of all instances of a user. The others
// are the limits during a run. fewWatches is the kernel's default on a small host: an eighth is what the service has for one user.
const (
	eventQueue  = "/proc/sys/fs/inotify/max_queued_events"
	fewEvents   = "8"
	userWatches = "/proc/sys/fs/inotify/max_user_watches"
	fewWatches  = "8192"
)

// limitInotify makes the queues of inotify overflow and its watches run out, until the last run on this host has ended.
func limitInotify() (restore func() error, err error) {
	events, err := limitShared(queueLock, eventQueue, fewEvents)
	if err != nil {
		return nil, err
	}
	watches, err := limitShared(watchesLock, userWatches, fewWatches)
	if err != nil {
		return nil, errors.Join(err, events())
	}
	return func() error { return errors.Join(events(), watches()) }, nil
}

// limitShared sets a setting of the host to a value. The first run keeps what it was in the lock, and the last run puts
// that back.
func limitShared(lock, setting, value string) (restore func() error, err error) {
	f, err := locked(lock, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	now, err := os.ReadFile(setting)
	if err == nil && string(bytes.TrimSpace(now)) != value {
		_, err = f.WriteAt(fmt.Appendf(nil, "%-20s", bytes.TrimSpace(now)), 0)
	}
	if err == nil {
		err = os.WriteFile(setting, []byte(value), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return restoreShared(f, setting) }, nil
}

func restoreShared(f *os.File, setting string) error {
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // another run goes on
	}
	was, err := io.ReadAll(f)
	if was = bytes.TrimSpace(was); err != nil || len(was) == 0 {
		return errors.Join(err, f.Close())
	}
	return os.WriteFile(setting, was, 0)
}
