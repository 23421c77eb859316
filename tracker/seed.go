// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// insert adds the processes that the map lacks, and reports whether it has no room for all.
func (t *Tracker) insert(pids []selector.PID) (overflow bool, err error) {
	for _, pid := range pids {
		err := t.insertOne(pid)
		switch {
		case errors.Is(err, ebpf.ErrKeyExist):
		case errors.Is(err, unix.E2BIG):
			overflow = true
			t.counts.seedMapFull++
		case err != nil:
			return overflow, fmt.Errorf("seed %d: %w", pid, err)
		case ended(pid):
			// It exited before the insert, so its exit event, which would have removed it, is over.
			if err := t.drop(pid); err != nil {
				return overflow, err
			}
		}
	}
	return overflow, nil
}

// insertOne marks the process before the insert, so that the programs find the entry at once. It marks it again after
// the insert, because a program may have cleared the mark meanwhile, with an older entry.
func (t *Tracker) insertOne(pid selector.PID) error {
	if err := t.mark(pid); err != nil {
		return err
	}
	err := t.objects.Servers.Update(uint32(pid), gen.ExecTrackerServer{}, ebpf.UpdateNoExist)
	return errors.Join(err, t.mark(pid))
}

// Marks of processes, as in enum mark of bpf/servers.h.
const (
	markAbsent = 0
	markIn     = 1
	markExempt = 2
)

// mark makes the programs look the process up in the map. An exempt process stays exempt. The programs look up a PID
// beyond the marks in any case. A mark is never cleared here: one too many costs a lookup.
func (t *Tracker) mark(pid selector.PID) error {
	if uint64(pid) >= uint64(t.marks.Size()) || t.markOf(pid) != markAbsent {
		return nil
	}
	return t.setMark(pid, markIn)
}

// markOf is markAbsent for a PID beyond the marks.
func (t *Tracker) markOf(pid selector.PID) byte {
	var b [1]byte
	_, _ = t.marks.ReadAt(b[:], int64(pid)) // fails only beyond the end
	return b[0]
}

func (t *Tracker) setMark(pid selector.PID, mark byte) error {
	_, err := t.marks.WriteAt([]byte{mark}, int64(pid))
	return err
}

// lineLen is LINE_LEN of bpf/servers.h.
const lineLen = 64

func markLinesFor(pids int) uint32 { return uint32((pids + lineLen - 1) / lineLen) }

// pidMax is kernel.pid_max, above every PID that the kernel assigns until the setting is raised. Its upper limit is
// PID_MAX_LIMIT of include/linux/threads.h (Linux 5.10, 64 bits).
func pidMax() int {
	const limit = 4 << 20
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return limit
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 1 {
		return limit
	}
	return min(n, limit)
}

// drop deletes the entry of a process that has ended. If the PID has a new owner by then, the entry may have been that
// one's, and is inserted again, without its times.
func (t *Tracker) drop(pid selector.PID) error {
	err := t.objects.Servers.Delete(uint32(pid))
	if err == nil && !ended(pid) {
		err = t.insertOne(pid)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("drop %d: %w", pid, err)
	}
	return nil
}

// ended reports whether no process has the PID, or all threads of that process have exited. No further event is
// reported of a zombie, however late its parent reaps it. Its pidfd is readable (do_notify_pidfd in kernel/signal.c,
// Linux 5.10). Neither call needs a capability.
func ended(pid selector.PID) bool {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer func() { _ = unix.Close(fd) }()
	return sys.HasEnded(fd)
}
