// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// append adds a line to the contents and to the file, or writes the file anew.
func (f *File) append(l line) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.take(l); err != nil {
		return f.wrap("write", err)
	}
	if f.file != nil && isRemoved(f.file) {
		f.drop()
	}
	if f.file == nil {
		return f.wrap("write", f.replaceForNote())
	}
	f.unwritten = append(f.unwritten, encode(l)...)
	err := f.add()
	if err == nil && f.size > f.limit && f.rewrite() != nil {
		f.limit = f.size + slack // no room for a second file: the first one grows
	}
	return f.wrap("write", err)
}

// isRemoved reports whether a file has no name any more: a cleaner of /tmp or the end of a user's session removed it. No
// later process would find what is written to it.
func isRemoved(file *os.File) bool {
	var stat unix.Stat_t
	return unix.Fstat(int(file.Fd()), &stat) == nil && stat.Nlink == 0
}

// add appends the unwritten lines, all or none: the next line must not begin in the middle of one.
func (f *File) add() error {
	n, err := f.file.Write(f.unwritten)
	if err == nil {
		f.size += int64(n)
		f.unwritten = f.unwritten[:0]
		return nil
	}
	if n > 0 && f.file.Truncate(f.size) != nil || len(f.unwritten) > maxUnwritten {
		f.drop()
	}
	return err
}

// replaceForNote limits the attempts to write a whole file, because each of thousands of servers may have a note.
func (f *File) replaceForNote() error {
	if f.failed == nil || time.Since(f.failedAt) >= retryAfter {
		f.failed = f.replace()
		f.failedAt = time.Now()
	}
	return f.failed
}

// replace rewrites the file. Also where that fails the old file is not appended to any more: a line must not follow lines
// that Save was to replace.
func (f *File) replace() error {
	err := f.rewrite()
	if err != nil {
		f.drop()
	}
	return err
}

// rewrite writes a whole file beside the old one and renames it.
func (f *File) rewrite() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	content := encode(header{version, text(boot), text(f.serves), f.number})
	for _, number := range slices.Sorted(maps.Keys(f.rollouts)) {
		content = append(content, encode(line{Rollout: f.rollouts[number]})...)
	}
	for _, pid := range slices.Sorted(maps.Keys(f.servers)) {
		content = append(content, encode(line{Server: f.servers[pid]})...)
	}
	file, err := f.create(content)
	if err != nil {
		return err
	}
	f.drop()
	f.file, f.size, f.failed = file, int64(len(content)), nil
	f.limit = 2*f.size + slack
	return nil
}

// create removes an incomplete file, also one that a killed process left.
func (f *File) create(content []byte) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return nil, err
	}
	next := f.path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(content); err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		_ = file.Close()
		_ = os.Remove(next)
		return nil, err
	}
	return file, nil
}

// drop closes the file. Lines that were not written to it are part of the next whole file.
func (f *File) drop() {
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.unwritten = nil, nil
}
