// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"debug/elf"
	"fmt"
	"os"
	"runtime"
)

// machineCode is a program and the machine that its ELF header names.
type machineCode struct {
	machine elf.Machine
	text    []byte
}

// exiting returns a program that calls exit_group(code).
func exiting(code byte) (machineCode, error) {
	switch runtime.GOARCH {
	case "amd64": // mov edi, code; mov eax, 231; syscall
		return machineCode{elf.EM_X86_64, []byte{0xbf, code, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05}}, nil
	case "arm64": // mov x0, code; mov x8, 94; svc 0
		mov := 0xd2800000 | uint32(code)<<5
		return machineCode{elf.EM_AARCH64, []byte{byte(mov), byte(mov >> 8), byte(mov >> 16), byte(mov >> 24), 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4}}, nil
	}
	return machineCode{}, fmt.Errorf("no program that exits is known for %s", runtime.GOARCH)
}

// hanging returns a program that calls pause() for ever.
func hanging() (machineCode, error) {
	if runtime.GOARCH == "amd64" { // mov eax, 34; syscall; jmp to the start
		return machineCode{elf.EM_X86_64, []byte{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}}, nil
	}
	return machineCode{}, fmt.Errorf("no program that hangs is known for %s", runtime.GOARCH)
}

// ReplaceExiting installs a static program that ends at once with an exit code: a binary that can be exec'd and ends
// every session.
func (i *Install) ReplaceExiting(code byte) error {
	p, err := exiting(code)
	if err != nil {
		return err
	}
	return i.replaceWith(p)
}

// ReplaceHanging installs a static program that does nothing, for ever.
func (i *Install) ReplaceHanging() error {
	p, err := hanging()
	if err != nil {
		return err
	}
	return i.replaceWith(p)
}

func (i *Install) replaceWith(p machineCode) error {
	return i.replace(func(f *os.File) error {
		_, err := f.Write(StaticProgram(p.machine, p.text))
		return err
	})
}
