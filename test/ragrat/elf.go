// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
)

// exits is a program for amd64 that ends at once with a status.
func exits(status byte) []byte {
	return program([]byte{
		0xb8, 231, 0, 0, 0, // mov eax, exit_group
		0xbf, status, 0, 0, 0, // mov edi, status
		0x0f, 0x05, // syscall
	})
}

// hangs is a program for amd64 that does nothing for ten minutes, and then ends by SIGALRM: none stays behind.
func hangs() []byte {
	return program([]byte{
		0xb8, 37, 0, 0, 0, // mov eax, alarm
		0xbf, 0x58, 0x02, 0, 0, // mov edi, 600
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov before
	})
}

// The layout of program: an ELF header, one program header, the code.
const (
	headerSize  = 64
	segmentSize = 56
	loadedAt    = 0x400000
)

// program is a static ELF file for amd64 with one segment (elf(5)).
func program(code []byte) []byte {
	size := uint64(headerSize + segmentSize + len(code))
	var b bytes.Buffer
	for _, field := range []any{
		[16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1},
		uint16(2), uint16(62), uint32(1), // ET_EXEC, EM_X86_64, EV_CURRENT
		uint64(loadedAt + headerSize + segmentSize), uint64(headerSize), uint64(0),
		uint32(0), uint16(headerSize), uint16(segmentSize), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), // PT_LOAD, readable and executable
		uint64(0), uint64(loadedAt), uint64(loadedAt), size, size, uint64(0x1000),
	} {
		_ = binary.Write(&b, binary.LittleEndian, field) // a Buffer takes everything
	}
	b.Write(code)
	return b.Bytes()
}
