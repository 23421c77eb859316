// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Without the gate the servers' own trigger fires 500 to 560 ms after an install (measured with rag-rat 0.24.1), at every
// server that is outdated by then. A signal that arrives during an exec kills, and beside a bad binary no canary protects.
// So the service must be through before: the same mechanism with shorter times.
const (
	hurriedSettle    = 100 * time.Millisecond
	hurriedGroupHold = 200 * time.Millisecond
	hurriedHold      = 300 * time.Millisecond
	// hurriedQuietBy counts from when the file has settled: 400 to 450 ms after the install.
	hurriedQuietBy = 300 * time.Millisecond
)

// hurried is a configuration with shorter durations where the operator has set none.
func (c Config) hurried() Config {
	l := &c.Limits
	for _, d := range []struct {
		chosen bool
		value  *time.Duration
		short  time.Duration
	}{
		{c.Chosen.Settle, &c.Settle, hurriedSettle},
		{c.Chosen.GroupHold, &l.GroupHold, hurriedGroupHold},
		{c.Chosen.Hold, &l.Hold, hurriedHold},
		{c.Chosen.QuietWithin, &l.QuietBy, hurriedQuietBy},
	} {
		if !d.chosen {
			*d.value = d.short
		}
	}
	serviceHurries.to(c.Log, keySettle.of(c.Settle), keyGroupHold.of(l.GroupHold), keyHold.of(l.Hold), keyQuietBy.of(l.QuietBy))
	return c
}

// watchesInstall reports whether a server watches the directory of its install: such a server fires the servers' own
// trigger. If it is the canary of a bad binary, that trigger dies with it. The answer is no for a directory that the kernel has
// not cached, so that no file system is waited for, and for one in another mount view.
func (h *Host) watchesInstall(p selector.Process) bool {
	if p.View != h.procfs.View() {
		return false
	}
	fd, err := sys.OpenPath(unix.AT_FDCWD, filepath.Dir(p.Path), unix.O_DIRECTORY, sys.ResolveCached|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &s)
	if err != nil {
		return false
	}
	return h.procfs.Watches(p.PID, selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino})
}
