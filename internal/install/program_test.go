// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// program is a small ELF that the kernel loads. Its code consists of zeros.
type program struct {
	machine
	kind elf.Type
	// interpreter is left out if it is empty.
	interpreter string
	// code is the size of the code behind the headers, in bytes.
	code int
	// notes are left out if they are empty.
	notes []byte
}

func static() program {
	return program{machine: machines[runtime.GOARCH], kind: elf.ET_EXEC, code: 64}
}

func dynamic(interpreter string) program {
	p := static()
	p.kind, p.interpreter = elf.ET_DYN, interpreter
	return p
}

// base is the address of the segment, page-aligned for pages of up to 64 KiB.
const base = 0x400000

// bytes returns the header, the table of segments, the interpreter, the code and the notes, in this order.
func (p program) bytes() []byte {
	var order binary.ByteOrder = binary.LittleEndian
	if p.data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(p.class), byte(p.data), byte(elf.EV_CURRENT)}
	header, entry := uint64(52), uint64(32)
	if p.class == elf.ELFCLASS64 {
		header, entry = 64, 56
	}
	segments := uint64(1)
	var name []byte
	if p.interpreter != "" {
		segments, name = 2, append([]byte(p.interpreter), 0)
	}
	if p.notes != nil {
		segments++
	}
	at := header + segments*entry
	size := at + uint64(len(name)+p.code+len(p.notes))
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, order, v) }
	put32 := func(kind elf.ProgType, off, n uint64) {
		put(elf.Prog32{Type: uint32(kind), Off: uint32(off), Vaddr: uint32(base + off), Filesz: uint32(n), Memsz: uint32(n), Flags: 5, Align: 1 << 16})
	}
	put64 := func(kind elf.ProgType, off, n uint64) {
		put(elf.Prog64{Type: uint32(kind), Off: off, Vaddr: base + off, Filesz: n, Memsz: n, Flags: 5, Align: 1 << 16})
	}
	segment := put32
	if p.class == elf.ELFCLASS64 {
		segment = put64
		put(elf.Header64{Ident: ident, Type: uint16(p.kind), Machine: uint16(p.machine.machine), Version: 1, Entry: base + at, Phoff: header, Ehsize: 64, Phentsize: 56, Phnum: uint16(segments)})
	} else {
		put(elf.Header32{Ident: ident, Type: uint16(p.kind), Machine: uint16(p.machine.machine), Version: 1, Entry: uint32(base + at), Phoff: uint32(header), Ehsize: 52, Phentsize: 32, Phnum: uint16(segments)})
	}
	if name != nil {
		segment(elf.PT_INTERP, at, uint64(len(name)))
	}
	segment(elf.PT_LOAD, 0, size)
	if p.notes != nil {
		segment(elf.PT_NOTE, size-uint64(len(p.notes)), uint64(len(p.notes)))
	}
	b.Write(name)
	b.Write(make([]byte, p.code))
	b.Write(p.notes)
	return b.Bytes()
}

// put makes an executable file. It forks no child meanwhile, which would have the file open for writing until its exec.
func put(t *testing.T, path string, content []byte) string {
	t.Helper()
	putMode(t, path, content, 0o755)
	return path
}

func putMode(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(path, content, mode))
	must(t, os.Chmod(path, mode))
}

// replace installs content at path by rename, as installers do, and returns the new image.
func replace(t *testing.T, path string, content []byte) selector.Image {
	t.Helper()
	next := put(t, path+".next", content)
	image := imageOf(t, next)
	must(t, os.Rename(next, path))
	return image
}

func imageOf(t *testing.T, path string) selector.Image {
	t.Helper()
	var s unix.Stat_t
	must(t, unix.Stat(path, &s))
	return selector.Image{Dev: uint64(s.Dev), Ino: s.Ino} //nolint:unconvert // 32 bits wide on mips
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	must(t, os.MkdirAll(dir, 0o755))
	return dir
}
