// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No other check finds the mounts.
func TestWatch_MountOverPath_IsSeenIn2s(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, over := range map[string]func(path string) string{
		"folder": filepath.Dir,
		"file":   func(path string) string { return path },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, path := installed(t)
			_, other := installed(t)
			w := watchFile(t, path, eventsOnly())
			first := imageOf(t, path)
			awaitReady(t, w, first)
			began := time.Now()
			must(t, unix.Mount(over(other), over(path), "", unix.MS_BIND, ""))
			awaitReady(t, w, imageOf(t, other))
			must(t, unix.Unmount(over(path), 0)) // fails if it is busy
			awaitReady(t, w, first)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("a mount and its end were seen after %s, want 2 s each", took)
			}
		})
	}
}

// A host that mounts without a pause has each path checked once per interval.
func TestMounts_Storm_ChecksOncePerInterval(t *testing.T) {
	t.Parallel()
	needRoot(t)
	calls := make(chan bool, 1000)
	stop := watchMounts(func() { calls <- true })
	dir, began := t.TempDir(), time.Now()
	for range 50 {
		must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
		must(t, unix.Unmount(dir, 0))
	}
	took := time.Since(began)
	eventually(t, "the storm is noticed", func() bool { return len(calls) > 0 })
	must(t, stop.Close())
	if most := 2 + int(took/mountsInterval); len(calls) > most {
		t.Errorf("100 changes within %s are reported %d times, want at most %d", took, len(calls), most)
	}
}
