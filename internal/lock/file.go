// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

type lockFile struct {
	*os.File
	name string
}

// openLock opens the file by its name in dir. Nobody else may open it: who can read a file can lock
// it (fs/locks.c, flock, Linux 6.12).
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

// tryLock locks the file alone (LOCK_EX) or with others (LOCK_SH).
func (f *lockFile) tryLock(how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// leads reports whether the name still leads to this file.
func (f *lockFile) leads(dir *os.File) bool {
	var mine, named unix.Stat_t
	return unix.Fstat(int(f.Fd()), &mine) == nil &&
		unix.Fstatat(int(dir.Fd()), f.name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		mine.Dev == named.Dev && mine.Ino == named.Ino
}

// introduce says who holds the lock. It is held even if there is no room to say so.
func (f *lockFile) introduce(me holder) {
	content, err := json.Marshal(me)
	if err == nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(append(content, '\n'), 0)
	}
}

// holder is the zero holder when none can be read.
func (f *lockFile) holder() holder {
	var h holder
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<16))
	if err != nil || json.Unmarshal(content, &h) != nil {
		return holder{}
	}
	return h
}

// release removes the name before the lock: afterwards, the name may be the next holder's. For the
// same reason it leaves a name alone that leads elsewhere, or that others share.
func (f *lockFile) release(dir *os.File) error {
	var err error
	if f.tryLock(unix.LOCK_EX) == nil && f.leads(dir) {
		err = unix.Unlinkat(int(dir.Fd()), f.name, 0)
	}
	return errors.Join(err, f.Close())
}
