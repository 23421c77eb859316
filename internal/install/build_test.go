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
	"strings"
	"testing"

	"ebpf-upgrader/selector"
)

// note is one note with its padding.
func note(order binary.AppendByteOrder, owner string, kind uint32, text string) []byte {
	b := order.AppendUint32(nil, uint32(len(owner)+1))
	b = order.AppendUint32(b, uint32(len(text)))
	b = order.AppendUint32(b, kind)
	for _, part := range []string{owner + "\x00", text} {
		b = append(b, part...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	return b
}

func buildOf(content []byte, arch string) selector.Build {
	return elfBuild(bytes.NewReader(content), int64(len(content)), arch)
}

func TestBuild_Notes_AreRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", selector.MaxBuildText+1)
	for arch, m := range machines {
		var order binary.AppendByteOrder = binary.LittleEndian
		if m.data == elf.ELFDATA2MSB {
			order = binary.BigEndian
		}
		notes := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
		gnu := note(order, "GNU", noteGNUBuildID, "\x3f\x2a\x1c\xd4\x00")
		for _, c := range []struct {
			notes []byte
			want  selector.Build
		}{
			{gnu, selector.Build{BuildID: "3f2a1cd400"}},
			{note(order, "GNU", 5, "\x01"), selector.Build{}},
			{note(order, "Go", noteGoBuildID, "a/b/c/d_-1"), selector.Build{BuildID: "d_-1"}},
			{notes(note(order, "Go", noteGoBuildID, "a/b"), gnu), selector.Build{BuildID: "3f2a1cd400"}},
			{notes(note(order, "FDO", notePackage, `{"type":"deb","version":"0.24.1-2"}`+"\x00\x00"), gnu), selector.Build{BuildID: "3f2a1cd400", Version: "0.24.1-2"}},
			{note(order, "FDO", notePackage, `{"version":"1\u001b[2J"}`), selector.Build{}},
			{note(order, "FDO", notePackage, `{"version":"`+long+`"}`), selector.Build{}},
			{note(order, "FDO", notePackage, `{"version":3}`), selector.Build{}},
			{note(order, "FDO", notePackage, `{`), selector.Build{}},
			{gnu[:len(gnu)-5], selector.Build{}},
			{[]byte("short"), selector.Build{}},
		} {
			content := program{machine: m, kind: elf.ET_DYN, code: 16, notes: c.notes}.bytes()
			if got := buildOf(content, arch); got != c.want {
				t.Errorf("%s, notes %q: %+v, want %+v", arch, c.notes, got, c.want)
			}
		}
	}
}

func TestBuild_LongNotes_AreNotRead(t *testing.T) {
	t.Parallel()
	p := static()
	p.notes = bytes.Repeat(note(binary.NativeEndian, "GNU", noteGNUBuildID, "1234"), maxNotes/20+1)
	if got := buildOf(p.bytes(), runtime.GOARCH); got != (selector.Build{}) {
		t.Errorf("%d bytes of notes: %+v", len(p.notes), got)
	}
}

// countedReads counts what is read.
type countedReads struct {
	*bytes.Reader
	bytes int
}

func (c *countedReads) ReadAt(buf []byte, at int64) (int, error) {
	c.bytes += len(buf)
	return c.Reader.ReadAt(buf, at)
}

func TestBuild_GoProgram_LittleIsRead(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	r := &countedReads{Reader: bytes.NewReader(content)}
	b := elfBuild(r, int64(len(content)), runtime.GOARCH)
	if len(b.BuildID) < 20 || strings.Contains(b.BuildID, "/") {
		t.Errorf("this test has the build id %q", b.BuildID)
	}
	if r.bytes > maxBuildInfo+maxNotes {
		t.Errorf("%d bytes read", r.bytes)
	}
}

// TestBuild_Kept_IsNotReadAgain restores the description with the memory of opened files.
func TestBuild_Kept_IsNotReadAgain(t *testing.T) {
	t.Parallel()
	p := static()
	p.notes = note(binary.NativeEndian, "GNU", noteGNUBuildID, "1234")
	path := put(t, filepath.Join(t.TempDir(), "program"), p.bytes())
	want := selector.Build{BuildID: "31323334"}
	old(t, path)
	first := NewChecker()
	found := first.Check(RootedPath{Path: path})
	if found.Build != want {
		t.Errorf("%+v, want %+v", found.Build, want)
	}
	second := NewChecker()
	second.RestoreChecks(first.CachedChecks())
	if got := second.Check(RootedPath{Path: path}).Build; got != want {
		t.Errorf("restored: %+v, want %+v", got, want)
	}
	if got := second.BuildOf(found.Image); got != want {
		t.Errorf("of the image: %+v, want %+v", got, want)
	}
	if got := Stat(RootedPath{Path: path}).Build; got != (selector.Build{}) {
		t.Errorf("without an open: %+v", got)
	}
}

// FuzzBuild checks that no file of a user harms the service, and that what it says of itself can be shown.
func FuzzBuild(f *testing.F) {
	p := static()
	p.notes = note(binary.NativeEndian, "Go", noteGoBuildID, "a/b")
	f.Add(p.bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		r := &countedReads{Reader: bytes.NewReader(content)}
		b := elfBuild(r, int64(len(content)), runtime.GOARCH)
		for _, text := range []string{b.BuildID, b.Version} {
			if text != buildText(text) {
				t.Errorf("%q", text)
			}
		}
		if most := 128<<10 + maxNotes + maxBuildInfo; r.bytes > most {
			t.Errorf("%d bytes read", r.bytes)
		}
	})
}
