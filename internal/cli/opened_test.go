// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/rollout"
)

// TestRestart_FileUnchanged_IsNotOpenedAgain: an open would fire the servers' own trigger.
func TestRestart_FileUnchanged_IsNotOpenedAgain(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.start(nil)
		count := opens(t, s.Path())
		service := s.serve(source)
		s.phase(service.client(t), rollout.PhaseComplete)
		service.stop()
		first := count()
		if first != 1 {
			t.Errorf("the first service opened the file %d times, want once", first)
		}
		service = service.again(t, s.Path(), source)
		s.phase(service.client(t), rollout.PhaseComplete)
		if n := count(); n != 0 {
			t.Errorf("the next service opened the file %d times, want none", n)
		}
		s.replace()
		s.phase(service.client(t), rollout.PhaseComplete)
	})
}

// opens counts how often a file is opened, other than to look at its attributes.
func opens(t *testing.T, path string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_CLOSE)
	must(t, err)
	return func() (n int) {
		buf := make([]byte, unix.SizeofInotifyEvent)
		for {
			if got, err := unix.Read(fd, buf); err != nil || got <= 0 {
				return n
			}
			n++
		}
	}
}
