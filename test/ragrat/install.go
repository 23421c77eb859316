// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lands is what is installed in the middle of a scenario.
type lands string

const (
	// sameVersion is the version that runs, in a file of its own that is some bytes longer.
	sameVersion  lands = "the same"
	newerVersion lands = "newer"
	exit1        lands = "exit 1"
	exit0        lands = "exit 0"
	hang         lands = "hang"
	truncated    lands = "truncated"
	noLibrary    lands = "no library"
)

// good says that servers shall come to it.
func (l lands) good() bool { return l == sameVersion || l == newerVersion }

var errNoSuchLibrary = errors.New("it does not use libgcc_s.so.1")

// bytes are the file's, made from the version that runs and the newer one.
func (l lands) bytes(from, to string) ([]byte, error) {
	switch l {
	case exit1:
		return exits(1), nil
	case exit0:
		return exits(0), nil
	case hang:
		return hangs(), nil
	case newerVersion:
		return os.ReadFile(to)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	switch l {
	case truncated:
		return text[:len(text)/2], nil
	case noLibrary:
		needed, other := []byte("libgcc_s.so.1\x00"), []byte("libgcc_s.so.0\x00")
		if !bytes.Contains(text, needed) {
			return nil, fmt.Errorf("make %s lack a library: %w", from, errNoSuchLibrary)
		}
		return bytes.Replace(text, needed, other, 1), nil
	}
	return append(text, "another file"...), nil
}

// put writes a file beside path and renames it to path, as cargo install does. It belongs to the user uid.
func put(path string, text []byte, uid uint32) error {
	fresh := filepath.Join(filepath.Dir(path), ".fresh")
	if err := os.WriteFile(fresh, text, 0o755); err != nil {
		return err
	}
	if err := os.Chown(fresh, int(uid), int(uid)); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// image is which file something is.
type image struct{ dev, ino uint64 }

// imageAt is the file at a path, of which a process's exe is one, too.
func imageAt(path string) (image, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return image{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return image{st.Dev, st.Ino}, nil
}
