// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"debug/elf"

	"ebpf-upgrader/test/testfleet"
)

// exits is a program for amd64 that ends at once with a status.
func exits(status byte) []byte {
	return testfleet.StaticProgram(elf.EM_X86_64, []byte{
		0xb8, 231, 0, 0, 0, // mov eax, exit_group
		0xbf, status, 0, 0, 0, // mov edi, status
		0x0f, 0x05, // syscall
	})
}

// hangs is a program for amd64 that does nothing for ten minutes. Then SIGALRM ends it, so that no process is left over.
func hangs() []byte {
	return testfleet.StaticProgram(elf.EM_X86_64, []byte{
		0xb8, 37, 0, 0, 0, // mov eax, alarm
		0xbf, 0x58, 0x02, 0, 0, // mov edi, 600
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov before
	})
}
