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

func (r *reader) readStat() error {
	if err := r.openStat(r.dir); err != nil {
		return err
	}
	r.p.StartTime, r.p.Forked = r.first.startTime, r.first.isForked()
	r.p.Age = age(r.first.startTime)
	switch {
	case !r.first.isAlive():
		return ErrGone
	case r.first.hasExited():
		if err := r.switchToThread(); err != nil {
			return err
		}
	}
	return nil
}

// switchToThread reads all further facts from a live thread. The leader has released its memory, so the layout is read from
// the thread, too.
func (r *reader) switchToThread() (err error) {
	if r.thread, err = r.fs.livingThread(r.dir, r.buf); err != nil {
		return err
	}
	_ = unix.Close(r.stat)
	r.stat = 0
	if err := r.openStat(r.thread); err != nil {
		return err
	}
	if r.first.hasExited() {
		return ErrGone
	}
	return nil
}

// openStat opens the stat file in dir and reads it.
func (r *reader) openStat(dir int) error {
	fd, err := openFile(dir, "stat")
	if err != nil {
		return err
	}
	r.stat = fd
	r.first, err = r.readStatAgain()
	return err
}

// readStatAgain reads the open stat file. At offset 0 the kernel generates the text anew (seq_read_iter in fs/seq_file.c,
// Linux 6.12). The text is always about the process for which the file was opened, even after its PID was reused: the inode
// holds the struct pid (proc_single_show in fs/proc/base.c).
func (r *reader) readStatAgain() (stat, error) {
	for {
		n, err := unix.Pread(r.stat, r.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return stat{}, gone(err)
		default:
			return parseStat(r.buf[:n])
		}
	}
}

// userHZ is the unit of times in /proc: USER_HZ of include/asm-generic/param.h. It is 100 on every architecture that Go
// supports.
const userHZ = 100

// age returns the time since startTime. Both count from boot and include suspends.
func age(startTime uint64) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0 // never refused for this clock; 0 takes a fork for a young one, which is safe
	}
	return max(0, time.Duration(now.Nano())-time.Duration(startTime)*(time.Second/userHZ))
}

// livingThread opens the directory of the first thread that has not exited. If all readable threads have exited, it fails with
// errAllExited.
func (fs *FS) livingThread(dir int, buf []byte) (int, error) {
	failure := errAllExited
	for tid, err := range numbers(dir, "task", math.MaxInt) {
		if err != nil {
			return 0, err
		}
		thread, err := fs.openThread(dir, tid, buf)
		if err == nil {
			return thread, nil
		}
		if !errors.Is(err, ErrGone) {
			failure = err
		}
	}
	return 0, failure
}

func (fs *FS) openThread(dir int, tid selector.PID, buf []byte) (int, error) {
	thread, err := unix.Openat(dir, "task/"+tid.String(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	s, err := fs.stat(thread, "stat", buf)
	if err == nil && s.hasExited() {
		err = ErrGone
	}
	if err != nil {
		_ = unix.Close(thread)
		return 0, err
	}
	return thread, nil
}

// readImage needs no timeout. The link leads to an inode that the kernel holds, so no name is looked up. Even NFS answers from
// its cache (nfs_lookup_verify_inode in fs/nfs/dir.c, Linux 6.12, asks the server only after ESTALE).
func (r *reader) readImage() error {
	f, err := statAt(r.base(), "exe", 0)
	if err != nil {
		return gone(err)
	}
	r.p.Image = f.Image
	return r.detectExec()
}

// detectExec finds out whether the process is in the middle of an exec, or has exec'd since its first stat line was read. An
// exec first shows the new memory, and with it the image. It then resets the handlers, and fills in the arguments last. (In
// begin_new_exec: exec_mmap, then flush_signal_handlers. In load_elf_binary: create_elf_tables, which sets arg_end.
// fs/exec.c and fs/binfmt_elf.c, Linux 6.12.) The addresses of the arguments can be read without the lock on the memory
// (do_task_stat in fs/proc/array.c).
//
// Called after the status: if the memory is the one from before the arguments were read, no handler has been reset, and
// everything read in between belongs to one image.
//
// Called after the image: without address randomisation the next image may have the same layout, and only an exec under way
// shows. Arguments that exist after the image was read prove that handlers read later are of that image or a newer one.
func (r *reader) detectExec() error {
	s, err := r.readStatAgain()
	switch {
	case err != nil:
		return err
	case s.hasExited():
		return ErrGone
	}
	r.p.MidExec = r.p.MidExec || !s.sameImage(r.first)
	return nil
}

// readStatus comes after all other facts. It thus also proves that the process was alive when the image was read: the status
// of a zombie can be read, and shows that state.
func (r *reader) readStatus() error {
	s, err := r.status()
	isCut := errors.Is(err, errTooManyGroups)
	switch {
	case errors.Is(err, ErrGone):
		return err
	case err != nil && !isCut:
		r.setUnreadable(selector.FactHandler, err)
		return nil
	case s.hasExited():
		return ErrGone
	case s.tgid != r.p.PID:
		return errIsThread
	}
	if r.p.Credentials = r.credentials(s); isCut {
		r.setUnreadable(selector.FactHandler, err)
		return nil
	}
	r.p.Catches = s.catches(int(r.q.Signal))
	r.readPIDNamespace(s)
	return nil
}

func (r *reader) status() (status, error) {
	text, err := readFile(r.base(), "status", r.buf)
	if err != nil {
		return status{}, err
	}
	return parseStatus(text)
}
