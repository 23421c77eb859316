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

// Origins of entries, as in bpf/exec_tracker.c.
const originSeed = 3

// insert adds those that the kernel does not hold already, and reports whether there was no room for all.
func (t *Tracker) insert(pids []selector.PID) (overflow bool, err error) {
	for _, pid := range pids {
		err := t.insertOne(pid)
		switch {
		case errors.Is(err, ebpf.ErrKeyExist):
		case errors.Is(err, unix.E2BIG):
			overflow = true
			t.counted.seedMapFull++
		case err != nil:
			return overflow, fmt.Errorf("seed %d: %w", pid, err)
		case ended(pid):
			// It exited before it was put in, and its exit, which would have taken it out, has passed.
			if err := t.dropSeed(pid); err != nil {
				return overflow, err
			}
		}
	}
	return overflow, nil
}

// insertOne marks the process before, so that the programs see the entry as soon as it stands, and
// after, because one of them may just then have taken the mark away with an older entry.
func (t *Tracker) insertOne(pid selector.PID) error {
	if err := t.mark(pid); err != nil {
		return err
	}
	err := t.objects.Servers.Update(uint32(pid), gen.ExecTrackerServer{Origin: originSeed}, ebpf.UpdateNoExist)
	return errors.Join(err, t.mark(pid))
}

// Marks of processes, as in bpf/servers.h.
const (
	markAbsent = 0
	markIn     = 1
	markExempt = 2
)

// mark tells the programs that the map may hold the process; one that is exempt from the gate stays so. A PID beyond
// the marks is looked up in any case. No mark is taken away here: one too many costs a lookup.
func (t *Tracker) mark(pid selector.PID) error {
	if uint64(pid) >= uint64(t.marks.Size()) || t.markOf(pid) != markAbsent {
		return nil
	}
	return t.setMark(pid, markIn)
}

// markOf is markAbsent for a PID beyond the marks.
func (t *Tracker) markOf(pid selector.PID) byte {
	var b [1]byte
	_, _ = t.marks.ReadAt(b[:], int64(pid)) // fails beyond the end only
	return b[0]
}

func (t *Tracker) setMark(pid selector.PID, mark byte) error {
	_, err := t.marks.WriteAt([]byte{mark}, int64(pid))
	return err
}

// lineLen is LINE_LEN of bpf/servers.h.
const lineLen = 64

func linesFor(pids int) uint32 { return uint32((pids + lineLen - 1) / lineLen) }

// pidMax is above every PID that the kernel gives out, unless it is raised later. It cannot be more
// than PID_MAX_LIMIT of include/linux/threads.h (Linux 5.10, on 64 bits).
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

// dropSeed deletes an entry that insert made, and not one that the kernel made since for a new
// process of the same number.
func (t *Tracker) dropSeed(pid selector.PID) error {
	var s gen.ExecTrackerServer
	err := t.objects.Servers.Lookup(uint32(pid), &s)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && s.Origin != originSeed:
		return nil
	case err != nil:
		return fmt.Errorf("drop %d: %w", pid, err)
	}
	return t.drop(pid)
}

// drop deletes the entry of a process that has ended. Should the number have a new owner by then, it may have been
// his: he is put in again, server or not.
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

// ended reports whether nobody has the number, or one all of whose threads have exited: nothing more is told of a
// zombie, however long it waits for its parent. Its pidfd is readable from then on (do_notify_pidfd in
// kernel/signal.c, Linux 5.10). Neither call needs a right.
func ended(pid selector.PID) bool {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer func() { _ = unix.Close(fd) }()
	return sys.HasEnded(fd)
}
