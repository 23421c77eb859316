// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFile is an open file that can be locked, with its name in the directory.
type lockFile struct {
	*os.File
	name string
}

// holder is the content of the file.
type holder struct {
	PID  int    `json:"pid"`
	Note string `json:"note"`
}

// lives reports whether there is a process with the PID. The file may still name a dead holder when the next one has the
// lock and has not written itself.
func (h holder) lives() bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(h.PID))
	return h.PID > 0 && err == nil
}

// openLock opens the file by its name in dir. Its mode keeps other users out, because flock(2) needs no more than an open
// file (fs/locks.c, Linux 6.12).
func openLock(dir *os.File, name string) (*lockFile, error) {
	flags := unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open %q: %w", dir.Name()+"/"+name, err)
		}
		return &lockFile{os.NewFile(uintptr(fd), name), name}, nil
	}
}

// tryLock takes the lock exclusively (LOCK_EX) or shared (LOCK_SH), and does not wait.
func (f *lockFile) tryLock(how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isCurrent reports whether the name still belongs to this file.
func (f *lockFile) isCurrent(dir *os.File) bool {
	var mine, named unix.Stat_t
	return unix.Fstat(int(f.Fd()), &mine) == nil &&
		unix.Fstatat(int(dir.Fd()), f.name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		mine.Dev == named.Dev && mine.Ino == named.Ino
}

// writeHolder writes the holder. The lock is held also where the file system has no room for that.
func (f *lockFile) writeHolder(me holder) {
	content, err := json.Marshal(me)
	if err == nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(append(content, '\n'), 0)
	}
}

// holder reads the holder. It is the zero holder when the content is not one.
func (f *lockFile) holder() holder {
	var h holder
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil || json.Unmarshal(content, &h) != nil {
		return holder{}
	}
	return h
}

// release removes the name, and then the lock: afterwards the name may belong to the next holder. It leaves a name that
// belongs to another file, or that others share.
func (f *lockFile) release(dir *os.File) error {
	var err error
	if f.tryLock(unix.LOCK_EX) == nil && f.isCurrent(dir) {
		err = unix.Unlinkat(int(dir.Fd()), f.name, 0)
	}
	return errors.Join(err, f.Close())
}
