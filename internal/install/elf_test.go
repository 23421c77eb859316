// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func interpret(content []byte, arch string) (string, error) {
	return elfInterpreter(bytes.NewReader(content), int64(len(content)), arch)
}

func TestELF_OtherArchitecture_IsRefused(t *testing.T) {
	t.Parallel()
	for arch, m := range machines {
		for _, kind := range []elf.Type{elf.ET_EXEC, elf.ET_DYN} {
			content := program{machine: m, kind: kind, interpreter: "/lib/ld.so", code: 8}.bytes()
			for other := range machines {
				interpreter, err := interpret(content, other)
				switch {
				case other == arch && (err != nil || interpreter != "/lib/ld.so"):
					t.Errorf("for %s: %q, %v", arch, interpreter, err)
				case other != arch && (err == nil || err.Error() != fmt.Sprintf("is an ELF for %s, this build upgrades servers for %s only", arch, other)):
					t.Errorf("for %s on %s: %v", arch, other, err)
				}
			}
			if _, err := interpret(content, "sparc64"); err == nil {
				t.Errorf("for %s on an architecture that is not in the table: no error", arch)
			}
		}
	}
}

func TestELF_Truncated_IsRefused(t *testing.T) {
	t.Parallel()
	for arch, m := range machines {
		content := program{machine: m, kind: elf.ET_DYN, interpreter: "/lib/ld.so", code: 16}.bytes()
		for n := range content {
			if _, err := interpret(content[:n], arch); err == nil {
				t.Fatalf("%s, %d of %d bytes: no error", arch, n, len(content))
			}
		}
	}
}

// broken changes one field of a valid ELF for amd64 with an interpreter.
func broken(change func(h *elf.Header64, interp, load *elf.Prog64)) []byte {
	content := program{machine: machines["amd64"], kind: elf.ET_DYN, interpreter: "/lib/ld.so", code: 16}.bytes()
	var h elf.Header64
	var segments [2]elf.Prog64
	_, _ = binary.Decode(content, binary.LittleEndian, &h)
	_, _ = binary.Decode(content[64:], binary.LittleEndian, &segments)
	change(&h, &segments[0], &segments[1])
	_, _ = binary.Encode(content, binary.LittleEndian, &h)
	_, _ = binary.Encode(content[64:], binary.LittleEndian, &segments)
	return content
}

func TestELF_BrokenField_IsRefusedWithReason(t *testing.T) {
	t.Parallel()
	type prog = elf.Prog64
	cases := []struct {
		why    string
		change func(h *elf.Header64, interp, load *prog)
	}{
		{"not a program", func(h *elf.Header64, _, _ *prog) { h.Type = uint16(elf.ET_REL) }},
		{"not a program", func(h *elf.Header64, _, _ *prog) { h.Type = uint16(elf.ET_CORE) }},
		{"EM_SPARCV9", func(h *elf.Header64, _, _ *prog) { h.Machine = uint16(elf.EM_SPARCV9) }},
		{"ELFCLASS32", func(h *elf.Header64, _, _ *prog) { h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS32) }},
		{"ELFDATA2MSB", func(h *elf.Header64, _, _ *prog) { h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB) }},
		{"neither an ELF nor", func(h *elf.Header64, _, _ *prog) { h.Ident[3] = 'G' }},
		{"malformed", func(h *elf.Header64, _, _ *prog) { h.Phentsize = 32 }},
		{"malformed", func(h *elf.Header64, _, _ *prog) { h.Phnum = 0 }},
		{"malformed", func(h *elf.Header64, _, _ *prog) { h.Phnum = 0xffff }},
		{"truncated", func(h *elf.Header64, _, _ *prog) { h.Phnum = 100 }},
		{"truncated", func(h *elf.Header64, _, _ *prog) { h.Phoff = 1 << 63 }},
		{"truncated", func(h *elf.Header64, _, _ *prog) { h.Phoff = 1<<64 - 8 }},
		{"nothing to load", func(_ *elf.Header64, _, load *prog) { load.Type = uint32(elf.PT_NOTE) }},
		{"larger in the file", func(_ *elf.Header64, _, load *prog) { load.Memsz = load.Filesz - 1 }},
		{"truncated", func(_ *elf.Header64, _, load *prog) { load.Off = 1<<64 - 1 }},
		{"truncated", func(_ *elf.Header64, _, load *prog) { load.Filesz, load.Memsz = 1<<64-1, 1<<64-1 }},
		{"interpreter is malformed", func(_ *elf.Header64, interp, _ *prog) { interp.Filesz-- }},
		{"interpreter is malformed", func(_ *elf.Header64, interp, _ *prog) { interp.Filesz = 1 }},
		{"interpreter is malformed", func(_ *elf.Header64, interp, _ *prog) { interp.Filesz = 0 }},
		{"relative path", func(_ *elf.Header64, interp, _ *prog) { interp.Off, interp.Filesz = interp.Off+1, interp.Filesz-1 }},
	}
	for i, c := range cases {
		if _, err := interpret(broken(c.change), "amd64"); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("case %d: %v, want %q", i, err, c.why)
		}
	}
}

func TestELF_TwoInterpreters_FirstCounts(t *testing.T) {
	t.Parallel()
	var segments [3]elf.Prog64
	content := broken(func(h *elf.Header64, interp, load *elf.Prog64) {
		segments = [3]elf.Prog64{*interp, *interp, *load}
		segments[1].Off += 4 // "/ld.so"
		segments[1].Filesz -= 4
		h.Phoff, h.Phnum = 64+2*56+11+16, 3 // behind all other parts
	})
	content, _ = binary.Append(content, binary.LittleEndian, segments)
	if interpreter, err := interpret(content, "amd64"); interpreter != "/lib/ld.so" || err != nil {
		t.Errorf("interpreter %q, %v", interpreter, err)
	}
}

// The last segment of a program may be all zeros (.bss), and begin behind the end of the file.
func TestELF_EmptySegment_MayBeAnywhere(t *testing.T) {
	t.Parallel()
	content := broken(func(_ *elf.Header64, interp, _ *elf.Prog64) {
		interp.Type, interp.Off, interp.Filesz = uint32(elf.PT_LOAD), 1<<40, 0
	})
	if _, err := interpret(content, "amd64"); err != nil {
		t.Error(err)
	}
}

// FuzzELFHeader compares accepted files with debug/elf, and with the file cut short.
func FuzzELFHeader(f *testing.F) {
	for arch, m := range machines {
		f.Add(program{machine: m, kind: elf.ET_DYN, interpreter: "/lib/ld.so", code: 4}.bytes(), arch)
	}
	f.Add(static().bytes()[:70], "amd64")
	f.Fuzz(func(t *testing.T, content []byte, arch string) {
		interpreter, err := interpret(content, arch)
		if err != nil {
			if interpreter != "" {
				t.Fatalf("an interpreter %q beside the error %v", interpreter, err)
			}
			return
		}
		if again, err := interpret(append(bytes.Clone(content), 0), arch); err != nil || again != interpreter {
			t.Fatalf("with one byte more: %q, %v; want %q", again, err, interpreter)
		}
		requireLikeDebugELF(t, content, arch, interpreter)
	})
}

func requireLikeDebugELF(t *testing.T, content []byte, arch, interpreter string) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(withoutSections(content)))
	if err != nil {
		return // it also checks what exec does not
	}
	if (machine{file.Machine, file.Class, file.Data}) != machines[arch] {
		t.Fatalf("accepted as %s, is %s, %s, %s", arch, file.Machine, file.Class, file.Data)
	}
	first := ""
	for _, p := range file.Progs {
		if p.Type != elf.PT_NULL && p.Filesz > 0 && p.Off+p.Filesz > uint64(len(content)) {
			t.Fatalf("accepted with a segment outside the file: %+v of %d", p.ProgHeader, len(content))
		}
		if p.Type == elf.PT_INTERP && first == "" {
			name, _, _ := bytes.Cut(content[p.Off:p.Off+p.Filesz], []byte{0})
			first = string(name)
		}
	}
	if first != interpreter {
		t.Fatalf("interpreter %q, want %q", interpreter, first)
	}
}

// withoutSections clears the fields that debug/elf checks and exec does not.
func withoutSections(content []byte) []byte {
	content = bytes.Clone(content)
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(content[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	content[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	if elf.Class(content[elf.EI_CLASS]) == elf.ELFCLASS64 {
		var h elf.Header64
		_, _ = binary.Decode(content, order, &h)
		h.Version, h.Shoff, h.Shnum, h.Shstrndx = 1, 0, 0, 0
		_, _ = binary.Encode(content, order, &h)
		return content
	}
	var h elf.Header32
	_, _ = binary.Decode(content, order, &h)
	h.Version, h.Shoff, h.Shnum, h.Shstrndx = 1, 0, 0, 0
	_, _ = binary.Encode(content, order, &h)
	return content
}
