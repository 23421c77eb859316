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

// Arguments and environment of a process are read from its memory, under the lock on its address space
// (__access_remote_vm in mm/memory.c, Linux 6.12). A process can have that held for as long as it likes: one
// of its threads reads a page of a file that never answers through /proc/self/mem, and another waits to
// change the mappings. So nobody who serves others may wait for it.

// memory is the name of what is asked in a [question] of this kind. No file has it.
const memory = ""

// readMemory has do read the memory of a process from its directory, unless that is held: it fails with errHeld or
// errManyStuck then, and do goes on by itself. What do has written to may be used only after success.
//
// As long as nobody is slow, it is not asked whose the process is, which takes as long as what is to be read.
func (r *reader) readMemory(do func(dir int)) error {
	w := &r.fs.waits
	q := question{id: r.p.Identity, name: memory}
	owner, patience := uint32(nobody), memoryWithin
	if w.isWary() {
		owner = r.ownerNow()
		var err error
		if patience, err = w.patience(q, owner); err != nil {
			return err
		}
	}
	dir, err := unix.FcntlInt(uintptr(r.at()), unix.F_DUPFD_CLOEXEC, 0) // do may go on when r is closed
	if err != nil {
		return err
	}
	answer := newReply()
	answered := await(answer, patience, func() {
		do(dir)
		_ = unix.Close(dir)
	})
	took := time.Since(answer.asked)
	if answered && took <= quick {
		return nil
	}
	if owner == nobody {
		owner = r.ownerNow()
	}
	w.pay(owner, took)
	if answered || w.leave(q, owner, answer, 0) {
		return nil
	}
	return errHeld
}

// nobody accounts for a process that has ended since: root must not pay for it.
const nobody = math.MaxUint32

// ownerNow is who accounts for the process.
func (r *reader) ownerNow() uint32 {
	s, err := (&reader{fs: r.fs, dir: r.dir, thread: r.thread, buf: make([]byte, bufferSize)}).status()
	if err != nil {
		return nobody
	}
	return r.fs.owner(r.at(), s)
}

// isWary reports whether anybody's memory is waited for, or anybody has overdrawn his credit.
func (w *waits) isWary() bool {
	return w.held.Load() > 0 || w.full.Load() > 0 || time.Now().UnixNano() < w.debt.Load()
}

// patience is how long the memory of a process of the owner's may be waited for.
func (w *waits) patience(q question, owner uint32) (time.Duration, error) {
	_, patience, err := w.begin(q, owner, time.Time{}, memoryWithin)
	if errors.Is(err, errNoAnswer) {
		err = errHeld
	}
	return max(quick, patience), err
}

// MayRead reports whether [FS.Cmdline] may read a process now. It may not while an earlier read of the process is stuck,
// or while too many reads of its user are.
func (fs *FS) MayRead(pid selector.PID) bool {
	w := &fs.waits
	if w.full.Load() == 0 && (w.held.Load() == 0 || !w.holds(pid)) {
		return true
	}
	id, owner, err := fs.User(pid)
	if err != nil {
		return true // it has ended: the read reports that
	}
	_, err = w.patience(question{id: id, name: memory}, owner)
	return err == nil
}

// holds reports whether the memory of the process that has, or had, that number is waited for.
func (w *waits) holds(pid selector.PID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for q := range w.late {
		if q.name == memory && q.id.PID == pid {
			return true
		}
	}
	return false
}

// ChargeRead charges the user of a process for a read of its memory that took longer than 5 ms; isSlow is false for any
// other read, and for a process that has ended. done is nil for a read that has ended. For a read that was given up, done
// must be closed when it ends: until then the read counts as stuck.
func (fs *FS) ChargeRead(pid selector.PID, took time.Duration, done chan struct{}) (user uint32, isSlow bool) {
	if took <= quick {
		return 0, false
	}
	id, owner, err := fs.User(pid)
	if err != nil {
		return 0, false
	}
	fs.waits.pay(owner, took)
	if done != nil {
		fs.waits.leave(question{id: id, name: memory}, owner, &reply{known: done}, 0)
	}
	return owner, true
}
