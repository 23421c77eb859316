// SPDX-License-Identifier: MIT

package cli

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Without the gate the servers' own trigger fires 500 to 560 ms after an install (measured with rag-rat 0.24.1), at every
// server that is outdated by then. A signal that meets an exec kills, and beside a bad binary no canary protects. So the
// service must be through before: the same mechanism with shorter times.
const (
	hurriedSettle    = 100 * time.Millisecond
	hurriedGroupHold = 200 * time.Millisecond
	hurriedHold      = 300 * time.Millisecond
	// hurriedQuietBy is from when the file has settled: 400 to 450 ms after the install.
	hurriedQuietBy = 300 * time.Millisecond
)

// hurry gives the times that the operator has not set the values for a service without a gate.
func (a *app) hurry() {
	for _, d := range []struct {
		flag  string
		value *time.Duration
		short time.Duration
	}{
		{"settle", &a.opts.settle, hurriedSettle},
		{"group-hold", &a.opts.limits.GroupHold, hurriedGroupHold},
		{"hold", &a.opts.limits.Hold, hurriedHold},
		{"quiet-within", &a.opts.limits.QuietBy, hurriedQuietBy},
	} {
		if !a.opts.isSet(d.flag) {
			*d.value = d.short
		}
	}
	a.log.Info("hurrying, to be through before the servers' own trigger fires",
		"settle", a.opts.settle, "group_hold", a.opts.limits.GroupHold, "hold", a.opts.limits.Hold, "quiet_by", a.opts.limits.QuietBy)
}

// resolveCached is RESOLVE_CACHED of include/uapi/linux/openat2.h.
const resolveCached = 0x20

// watchesInstall reports whether a server watches the directory of its install: it is one of those that fire the servers' own
// trigger. As the canary of a bad binary it takes its trigger along. A directory that the kernel has not cached is not
// waited for (RESOLVE_CACHED, Linux 5.12): the answer is no then, as it is in another view of the files.
func (h *host) watchesInstall(p selector.Process) bool {
	if p.View != h.procfs.View() {
		return false
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, filepath.Dir(p.Path), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolveCached | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &s)
	if err != nil {
		return false
	}
	found, err := h.procfs.Watches(p.PID, selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino})
	return err == nil && found
}
