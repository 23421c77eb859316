// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"io"
	"os"

	"ebpf-upgrader/test/testfleet"
)

// entryOffset is the offset of e_entry in a header of ELFCLASS64.
const entryOffset = 24

// crasher writes a program that the kernel execs and that dies at its first instruction.
func crasher(path, source string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	content, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(content[entryOffset:], 0)
	return testfleet.WriteProgram(path, content)
}
