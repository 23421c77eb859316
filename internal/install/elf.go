// SPDX-License-Identifier: MIT

package install

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"
)

// machine is what the header of an ELF must say to run on an architecture.
type machine struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}

// machines has Go's architectures on Linux. A kernel may run others, too (386 on amd64). Nothing tells from outside whether it
// does, and a failed exec ends a server, so only the architecture of this program is accepted. It is never changed.
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

// errNoFormat is the problem of a file for which execve(2) fails with ENOEXEC. glibc's execvp(3), which Rust's exec calls,
// then runs any text with /bin/sh, be it the page of a failed download. Other C libraries do not.
var errNoFormat = errors.New("is neither an ELF nor a script with #!: only some C libraries run it, with /bin/sh")

// elfReader reads the headers of an ELF of either class as those of the 64-bit one.
type elfReader struct {
	io.ReaderAt
	size  uint64
	order binary.ByteOrder
	wide  bool
}

// elfInterpreter checks what exec checks of an ELF, and returns the path of its interpreter; "" for a static program. It does
// not check sections, which only linkers use.
func elfInterpreter(r io.ReaderAt, size int64, arch string) (interpreter string, err error) {
	f := elfReader{ReaderAt: r, size: uint64(size)}
	entries, entrySize, err := f.segments(arch)
	if err != nil {
		return "", err
	}
	loads := 0
	for entry := range slices.Chunk(entries, entrySize) {
		p := f.segment(entry)
		switch kind := elf.ProgType(p.Type); {
		case kind != elf.PT_NULL && p.Filesz > 0 && !f.holds(p.Off, p.Filesz): // with nothing in the file, the offset means nothing
			return "", fmt.Errorf("is truncated: a segment is %d bytes at %d, the file %d", p.Filesz, p.Off, f.size)
		case kind == elf.PT_LOAD && p.Filesz > p.Memsz:
			return "", errors.New("a segment of the ELF is larger in the file than in memory")
		case kind == elf.PT_LOAD:
			loads++
		case kind == elf.PT_INTERP && interpreter == "": // the kernel stops at the first
			if interpreter, err = f.interpreter(p); err != nil {
				return "", err
			}
		}
	}
	if loads == 0 {
		return "", errors.New("the ELF has nothing to load")
	}
	return interpreter, nil
}

// segments reads the table of segments: entries of entrySize bytes.
func (f *elfReader) segments(arch string) (entries []byte, entrySize int, err error) {
	h, err := f.header(arch)
	if err != nil {
		return nil, 0, err
	}
	entries = make([]byte, int(h.Phentsize)*int(h.Phnum))
	return entries, int(h.Phentsize), f.read(entries, h.Phoff)
}

// header reads and checks the header of the file, and sets order and wide. The checks of the table of segments are those of load_elf_phdrs in
// fs/binfmt_elf.c (Linux 6.12): entries of one size, 64 KiB at most.
func (f *elfReader) header(arch string) (h elf.Header64, err error) {
	if f.size == 0 {
		return h, errors.New("is empty")
	}
	var ident [elf.EI_NIDENT]byte
	if err := f.read(ident[:], 0); err != nil || !bytes.HasPrefix(ident[:], []byte(elf.ELFMAG)) {
		return h, errNoFormat
	}
	is := machine{class: elf.Class(ident[elf.EI_CLASS]), data: elf.Data(ident[elf.EI_DATA])}
	f.wide, f.order = is.class == elf.ELFCLASS64, binary.LittleEndian
	if is.data == elf.ELFDATA2MSB {
		f.order = binary.BigEndian
	}
	entry := unsafe.Sizeof(elf.Prog64{})
	if f.wide {
		err = f.decode(&h)
	} else {
		var n elf.Header32
		err = f.decode(&n)
		h = elf.Header64{Type: n.Type, Machine: n.Machine, Phoff: uint64(n.Phoff), Phentsize: n.Phentsize, Phnum: n.Phnum}
		entry = unsafe.Sizeof(elf.Prog32{})
	}
	is.machine = elf.Machine(h.Machine)
	table := uint64(h.Phentsize) * uint64(h.Phnum)
	switch kind := elf.Type(h.Type); {
	case err != nil:
	case is != machines[arch]:
		err = fmt.Errorf("is an ELF for %s, this build upgrades servers for %s only", is, arch)
	case kind != elf.ET_EXEC && kind != elf.ET_DYN:
		err = fmt.Errorf("is an ELF of type %s, not a program", kind)
	case h.Phentsize != uint16(entry) || h.Phnum == 0 || table > 64<<10:
		err = errors.New("the ELF's table of segments is malformed")
	case !f.holds(h.Phoff, table):
		err = fmt.Errorf("is truncated: its table of segments is %d bytes at %d, the file %d", table, h.Phoff, f.size)
	}
	return h, err
}

// segment decodes an entry of the table, which has the right size.
func (f *elfReader) segment(entry []byte) (p elf.Prog64) {
	if f.wide {
		_, _ = binary.Decode(entry, f.order, &p)
		return p
	}
	var n elf.Prog32
	_, _ = binary.Decode(entry, f.order, &n)
	return elf.Prog64{Type: n.Type, Off: uint64(n.Off), Filesz: uint64(n.Filesz), Memsz: uint64(n.Memsz)}
}

// holds reports whether the file has size bytes at offset. The sum of both may overflow 64 bits.
func (f *elfReader) holds(offset, size uint64) bool { return offset <= f.size && size <= f.size-offset }

func (f *elfReader) decode(header any) error {
	buf := make([]byte, binary.Size(header))
	if err := f.read(buf, 0); err != nil {
		return err
	}
	_, err := binary.Decode(buf, f.order, header)
	return err
}

func (f *elfReader) read(buf []byte, at uint64) error {
	if n, err := f.ReadAt(buf, int64(at)); n < len(buf) {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("is truncated: its headers do not end before %d", f.size)
		}
		return err
	}
	return nil
}

// interpreter reads the path of a PT_INTERP segment, of PATH_MAX at most, as load_elf_binary does.
func (f *elfReader) interpreter(p elf.Prog64) (string, error) {
	const pathMax = 4096
	if p.Filesz < 2 || p.Filesz > pathMax {
		return "", errors.New("the ELF's interpreter is malformed")
	}
	path := make([]byte, p.Filesz)
	if err := f.read(path, p.Off); err != nil {
		return "", err
	}
	name, _, _ := bytes.Cut(path, []byte{0})
	switch {
	case path[len(path)-1] != 0:
		return "", errors.New("the ELF's interpreter is malformed")
	case len(name) == 0 || name[0] != '/':
		return "", fmt.Errorf("the ELF's interpreter %q is a relative path", name)
	}
	return string(name), nil
}
