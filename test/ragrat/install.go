// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
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
