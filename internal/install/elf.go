// SPDX-License-Identifier: MIT

package install

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"
)

// machine is what the header of an ELF must say to run on an architecture.
type machine struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}

// machines has Go's architectures on Linux. A kernel may run others, too (386 on amd64), but the servers have the architecture
// of this program. It is never changed.
var machines = map[string]machine{
	"386":      {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"amd64":    {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"arm":      {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"arm64":    {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"loong64":  {elf.EM_LOONGARCH, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"mips":     {elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2MSB},
	"mips64":   {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2MSB},
	"mips64le": {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"mipsle":   {elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"ppc64":    {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2MSB},
	"ppc64le":  {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"riscv64":  {elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"s390x":    {elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB},
}

// String returns Go's name of the architecture, or the fields of the header.
func (m machine) String() string {
	for arch, known := range machines {
		if known == m {
			return arch
		}
	}
	return fmt.Sprintf("%s (%s, %s)", m.machine, m.class, m.data)
}

// programHeaders locates the program headers, in both classes of ELF.
type programHeaders struct {
	offset   uint64
	size     uint16
	count    uint16
	order    binary.ByteOrder
	wide     bool
	fileSize uint64
}

// segment is one program header.
type segment struct {
	kind                 elf.ProgType
	offset, size, memory uint64
}

// elfInterpreter checks what exec checks of an ELF, and returns the path of its interpreter; "" for a static program. It does
// not check sections, which only linkers use.
func elfInterpreter(r io.ReaderAt, size int64, arch string) (string, error) {
	table, err := readELFHeader(r, size, arch)
	if err != nil {
		return "", err
	}
	entries := make([]byte, int(table.size)*int(table.count))
	if err := readAt(r, entries, int64(table.offset)); err != nil {
		return "", fmt.Errorf("is truncated: its headers do not end before %d", table.fileSize)
	}
	interpreter, loads := "", 0
	for i := range table.count {
		s, err := table.segment(entries[int(i)*int(table.size):])
		switch {
		case err != nil:
			return "", err
		case s.kind == elf.PT_LOAD:
			loads++
		case s.kind == elf.PT_INTERP && interpreter == "": // the kernel stops at the first
			if interpreter, err = readInterpreter(r, s); err != nil {
				return "", err
			}
		}
	}
	if loads == 0 {
		return "", errors.New("the ELF has nothing to load")
	}
	return interpreter, nil
}

func readELFHeader(r io.ReaderAt, size int64, arch string) (programHeaders, error) {
	if size == 0 {
		return programHeaders{}, errors.New("is empty")
	}
	var ident [elf.EI_NIDENT]byte
	if err := readAt(r, ident[:], 0); err != nil || !bytes.HasPrefix(ident[:], []byte(elf.ELFMAG)) {
		return programHeaders{}, errors.New("is neither an ELF nor a script")
	}
	is := machine{class: elf.Class(ident[elf.EI_CLASS]), data: elf.Data(ident[elf.EI_DATA])}
	table := programHeaders{wide: is.class == elf.ELFCLASS64, order: binary.LittleEndian, fileSize: uint64(size)}
	if is.data == elf.ELFDATA2MSB {
		table.order = binary.BigEndian
	}
	var kind elf.Type
	var err error
	is.machine, kind, err = table.readHeader(r)
	switch {
	case err != nil:
		return programHeaders{}, err
	case is != machines[arch]:
		return programHeaders{}, fmt.Errorf("is an ELF for %s, this machine is %s", is, arch)
	case kind != elf.ET_EXEC && kind != elf.ET_DYN:
		return programHeaders{}, fmt.Errorf("is an ELF of type %s, not a program", kind)
	}
	return table, table.check()
}

func (t *programHeaders) readHeader(r io.ReaderAt) (elf.Machine, elf.Type, error) {
	if t.wide {
		var h elf.Header64
		err := t.read(r, 0, &h)
		t.offset, t.size, t.count = h.Phoff, h.Phentsize, h.Phnum
		return elf.Machine(h.Machine), elf.Type(h.Type), err
	}
	var h elf.Header32
	err := t.read(r, 0, &h)
	t.offset, t.size, t.count = uint64(h.Phoff), h.Phentsize, h.Phnum
	return elf.Machine(h.Machine), elf.Type(h.Type), err
}

// check compares the table with load_elf_phdrs in fs/binfmt_elf.c (Linux 6.12): entries of one size, 64 KiB at most.
func (t *programHeaders) check() error {
	entry := unsafe.Sizeof(elf.Prog32{})
	if t.wide {
		entry = unsafe.Sizeof(elf.Prog64{})
	}
	all := uint64(t.size) * uint64(t.count)
	switch {
	case t.size != uint16(entry) || t.count == 0 || all > 64<<10:
		return errors.New("the ELF's table of segments is malformed")
	case !t.holds(t.offset, all):
		return fmt.Errorf("is truncated: its table of segments is %d bytes at %d, the file %d", all, t.offset, t.fileSize)
	}
	return nil
}

// segment decodes the first of the entries, and checks that its content is in the file.
func (t *programHeaders) segment(entries []byte) (segment, error) {
	var s segment
	if t.wide {
		var p elf.Prog64
		_, _ = binary.Decode(entries, t.order, &p) // check has compared the size
		s = segment{elf.ProgType(p.Type), p.Off, p.Filesz, p.Memsz}
	} else {
		var p elf.Prog32
		_, _ = binary.Decode(entries, t.order, &p)
		s = segment{elf.ProgType(p.Type), uint64(p.Off), uint64(p.Filesz), uint64(p.Memsz)}
	}
	switch {
	case s.kind == elf.PT_NULL || s.size == 0: // with nothing in the file, the offset means nothing
	case !t.holds(s.offset, s.size):
		return segment{}, fmt.Errorf("is truncated: a segment is %d bytes at %d, the file %d", s.size, s.offset, t.fileSize)
	case s.kind == elf.PT_LOAD && s.size > s.memory:
		return segment{}, errors.New("a segment of the ELF is larger in the file than in memory")
	}
	return s, nil
}

// holds reports whether the file has size bytes at offset. The sum of both may overflow 64 bits.
func (t *programHeaders) holds(offset, size uint64) bool {
	return offset <= t.fileSize && size <= t.fileSize-offset
}

func (t *programHeaders) read(r io.ReaderAt, at uint64, into any) error {
	buf := make([]byte, binary.Size(into))
	if err := readAt(r, buf, int64(at)); err != nil {
		return fmt.Errorf("is truncated: its headers do not end before %d", t.fileSize)
	}
	_, err := binary.Decode(buf, t.order, into)
	return err
}

// maxInterpreter is PATH_MAX, as in load_elf_binary.
const maxInterpreter = 4096

func readInterpreter(r io.ReaderAt, s segment) (string, error) {
	if s.size < 2 || s.size > maxInterpreter {
		return "", errors.New("the ELF's interpreter is malformed")
	}
	path := make([]byte, s.size)
	if err := readAt(r, path, int64(s.offset)); err != nil {
		return "", err
	}
	name, _, _ := bytes.Cut(path, []byte{0})
	switch {
	case path[s.size-1] != 0:
		return "", errors.New("the ELF's interpreter is malformed")
	case len(name) == 0 || name[0] != '/':
		return "", fmt.Errorf("the ELF's interpreter %q is a relative path", name)
	}
	return string(name), nil
}

func readAt(r io.ReaderAt, buf []byte, at int64) error {
	n, err := r.ReadAt(buf, at)
	if n == len(buf) {
		return nil
	}
	return err
}
