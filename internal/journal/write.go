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

	"golang.org/x/sys/unix"
)

// append adds a line to the contents and to the file. After a failure the line waits for the next whole file.
func (f *File) append(l line) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.take(l); err != nil {
		return f.wrap("write", err)
	}
	switch {
	case f.failed != nil:
	case f.file == nil || isRemoved(f.file):
		f.replace()
	default:
		f.add(encode(l))
	}
	return f.wrap("write", f.failed)
}

// isRemoved reports whether a file has no name any more: a cleaner of /tmp or the end of a user's session removed it. No
// later process would find what is written to it.
func isRemoved(file *os.File) bool {
	var stat unix.Stat_t
	return unix.Fstat(int(file.Fd()), &stat) == nil && stat.Nlink == 0
}

// add appends a line. Part of a line may be in the file after a failure: nothing may follow it there.
func (f *File) add(line []byte) {
	n, err := f.file.Write(line)
	f.size += int64(n)
	switch {
	case err != nil:
		f.failed = err
		f.drop()
	case f.size > f.limit && f.rewrite() != nil:
		f.limit = f.size + slack // no room for a second file: the first one grows
	}
}

// replace rewrites the file. Also where that fails the old file is not appended to any more: a line must not follow lines
// that Save was to replace.
func (f *File) replace() {
	if f.failed = f.rewrite(); f.failed != nil {
		f.drop()
	}
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
	f.file, f.size = file, int64(len(content))
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

// drop closes the file.
func (f *File) drop() {
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file = nil
}
