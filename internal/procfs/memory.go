// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// The kernel reads arguments and environment of a process from its memory, under the lock on its address space
// (__access_remote_vm in mm/memory.c, Linux 6.12). A process can hold that lock for any time: one thread reads a page of a
// file that never answers through /proc/self/mem, and another waits to change the mappings. So each read has a timeout.

// memoryName is the name in the [lookupKey] of a read of memory. No file has it.
const memoryName = ""

// readMemory runs do, which reads the memory of the process from its directory. It fails with errMemoryTimeout after the
// timeout, and with errTooManyStuck; do may still run then. What do has written may be used only after success.
//
// Fast path: while no read is stuck and no user is in debt, skip the owner lookup; it costs as much as the read itself.
func (r *reader) readMemory(do func(dir int)) error {
	l := r.fs.lookups
	key := lookupKey{id: r.p.Identity, name: memoryName}
	owner, limit := unknownOwner, memoryTimeout
	if l.isLimiting() {
		owner = r.currentOwner()
		var err error
		if limit, err = l.admitRead(key, owner); err != nil {
			return err
		}
	}
	dir, err := unix.FcntlInt(uintptr(r.base()), unix.F_DUPFD_CLOEXEC, 0) // do may run longer than r is open
	if err != nil {
		return err
	}
	read := newResult()
	isDone, took := read.waitFor(limit, func() {
		do(dir)
		_ = unix.Close(dir)
	})
	if isDone && took <= freeRead {
		return nil
	}
	if owner == unknownOwner {
		owner = r.currentOwner()
	}
	l.charge(owner, took)
	if isDone || l.abandon(key, owner, read, 0) {
		return nil
	}
	return errMemoryTimeout
}

// unknownOwner is charged for a process that has ended meanwhile: root must not be.
var unknownOwner = selector.User{UID: math.MaxUint32}

// currentOwner returns the user that the process counts for.
func (r *reader) currentOwner() selector.User {
	id, owner, err := r.fs.User(r.p.PID)
	if err != nil || id != r.p.Identity {
		return unknownOwner
	}
	return owner
}

// isLimiting reports whether a read of memory is stuck, or a user has no credit or too many stuck lookups.
func (l *lookups) isLimiting() bool {
	return l.stuckReads.Load() > 0 || l.usersAtLimit.Load() > 0 || time.Now().UnixNano() < l.throttledUntil.Load()
}

// admitRead returns how long a read of the owner's process may take.
func (l *lookups) admitRead(key lookupKey, owner selector.User) (time.Duration, error) {
	_, limit, err := l.admit(key, owner, time.Time{}, memoryTimeout)
	if errors.Is(err, errFileTimeout) {
		err = errMemoryTimeout
	}
	return max(freeRead, limit), err
}

// MayRead reports whether [FS.Cmdline] may read a process now. It may not while an earlier read of the process is stuck,
// or while too many lookups of its user are.
func (fs *FS) MayRead(pid selector.PID) bool {
	l := fs.lookups
	if l.usersAtLimit.Load() == 0 && (l.stuckReads.Load() == 0 || !l.isStuckOn(pid)) {
		return true
	}
	id, owner, err := fs.User(pid)
	if err != nil {
		return true // it has ended: the read reports that
	}
	_, err = l.admitRead(lookupKey{id: id, name: memoryName}, owner)
	return err == nil
}

// isStuckOn reports whether a read of memory is stuck for a process that has, or had, this PID.
func (l *lookups) isStuckOn(pid selector.PID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.abandoned {
		if key.name == memoryName && key.id.PID == pid {
			return true
		}
	}
	return false
}

// ChargeRead charges the user of a process for a read of its memory that took longer than 5 ms; isSlow is false for any
// other read, and for a process that has ended. done is nil for a read that has ended. For a read that was given up, done
// must be closed when it ends: until then the read counts as stuck.
func (fs *FS) ChargeRead(pid selector.PID, took time.Duration, done chan struct{}) (user selector.User, isSlow bool) {
	if took <= freeRead {
		return selector.User{}, false
	}
	id, owner, err := fs.User(pid)
	if err != nil {
		return selector.User{}, false
	}
	fs.lookups.charge(owner, took)
	if done != nil {
		fs.lookups.abandon(lookupKey{id: id, name: memoryName}, owner, &result{done: done}, 0)
	}
	return owner, true
}
