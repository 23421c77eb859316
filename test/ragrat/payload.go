// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// payload is what a scenario installs.
type payload string

const (
	// sameVersion is the version that runs, in another file that is some bytes longer.
	sameVersion  payload = "the same"
	newerVersion payload = "newer"
	exit1        payload = "exit 1"
	exit0        payload = "exit 0"
	hang         payload = "hang"
	truncated    payload = "truncated"
	noLibrary    payload = "no library"
)

// good reports whether servers are to be upgraded to it.
func (p payload) good() bool { return p == sameVersion || p == newerVersion }

var errNoSuchLibrary = errors.New("it does not use libgcc_s.so.1")

// bytes makes the content of the file from the binary that runs and the newer one.
func (p payload) bytes(from, to string) ([]byte, error) {
	switch p {
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
	switch p {
	case truncated:
		return text[:len(text)/2], nil
	case noLibrary:
		needed, other := []byte("libgcc_s.so.1\x00"), []byte("libgcc_s.so.0\x00")
		if !bytes.Contains(text, needed) {
			return nil, fmt.Errorf("remove a library from %s: %w", from, errNoSuchLibrary)
		}
		return bytes.Replace(text, needed, other, 1), nil
	}
	return append(text, "another file"...), nil
}
