// SPDX-License-Identifier: MIT

//go:build linux

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxBytes limits a file.
const maxBytes = 1 << 20

// content reads a file, without waiting for a writer of a FIFO.
func content(path string) ([]byte, error) {
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("folder %s: %w", filepath.Dir(path), err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return nil, err
	}
	switch {
	case s.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, errors.New("is a directory")
	case s.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("is not a regular file")
	case s.Size > maxBytes:
		return nil, fmt.Errorf("has %d bytes, and %d at most are read", s.Size, maxBytes)
	}
	if err := checkOwner(&s, 0); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxBytes))
}

// checkFolder refuses a folder in which another user could put another file. One with the sticky bit keeps the files of
// their owners.
func checkFolder(path string) error {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return err
	}
	return checkOwner(&s, unix.S_ISVTX)
}

// checkOwner refuses what users other than root and the one of this process may change: a setting says which servers are
// signalled. A mode with a bit of harmless is accepted.
func checkOwner(s *unix.Stat_t, harmless uint32) error {
	uid := os.Geteuid()
	isGroups := s.Mode&0o020 != 0 && s.Gid != 0 && uid == 0
	switch {
	case s.Uid != 0 && int(s.Uid) != uid:
		return fmt.Errorf("belongs to uid %d, and must belong to root or the user of this program", s.Uid)
	case (s.Mode&0o002 != 0 || isGroups) && s.Mode&harmless == 0:
		return fmt.Errorf("is writable by other users (mode %04o): chmod go-w", s.Mode&0o7777)
	}
	return nil
}
