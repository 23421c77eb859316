// SPDX-License-Identifier: MIT

package install

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"ebpf-upgrader/selector"
)

const (
	// maxNotes bounds what is read of the note segments of a program. Those of usual programs have 200 bytes.
	maxNotes = 16 << 10
	// maxBuildInfo bounds what is read of a Go program. The headers of its sections and its list of modules have 100 KB.
	maxBuildInfo = 4 << 20
)

// Kinds of notes, by the name of their owner.
const (
	noteGNUBuildID = 3          // of "GNU"
	noteGoBuildID  = 4          // of "Go"
	notePackage    = 0xcafe1a7e // of "FDO": https://systemd.io/PACKAGE_METADATA_FOR_EXECUTABLE_FILES
)

// elfBuild returns what an ELF says of itself, as far as it can be read. The ELF has passed [elfInterpreter].
func elfBuild(r io.ReaderAt, size int64, arch string) (b selector.Build) {
	f := elfReader{ReaderAt: r, size: uint64(size)}
	entries, entrySize, err := f.segments(arch)
	if err != nil {
		return b
	}
	goID, left := "", uint64(maxNotes)
	for entry := range slices.Chunk(entries, entrySize) {
		p := f.segment(entry)
		if elf.ProgType(p.Type) != elf.PT_NOTE || p.Filesz > left || !f.holds(p.Off, p.Filesz) {
			continue
		}
		left -= p.Filesz
		notes := make([]byte, p.Filesz)
		if f.read(notes, p.Off) != nil {
			return b
		}
		f.eachNote(notes, p.Align, func(owner string, kind uint32, text []byte) {
			switch {
			case owner == "GNU" && kind == noteGNUBuildID:
				b.BuildID = buildText(hex.EncodeToString(text[:min(len(text), selector.MaxBuildText/2)]))
			case owner == "Go" && kind == noteGoBuildID:
				goID = buildText(lastPart(string(text)))
			case owner == "FDO" && kind == notePackage:
				b.Version = packageVersion(text)
			}
		})
	}
	if b.BuildID == "" {
		b.BuildID = goID
	}
	if b.Version == "" && goID != "" {
		b.Version = goVersion(r)
	}
	return b
}

// eachNote calls take for the notes of a segment, up to the first that does not fit.
func (f *elfReader) eachNote(notes []byte, align uint64, take func(owner string, kind uint32, text []byte)) {
	if align != 8 {
		align = 4
	}
	padded := func(n uint32) uint64 { return (uint64(n) + align - 1) &^ (align - 1) }
	for len(notes) >= 12 {
		ownerLen, textLen, kind := f.order.Uint32(notes), f.order.Uint32(notes[4:]), f.order.Uint32(notes[8:])
		text := padded(12 + ownerLen&0xffff) // a longer name does not fit, and is none of the above
		if ownerLen > 0xffff || text+uint64(textLen) > uint64(len(notes)) {
			return
		}
		owner := strings.TrimRight(string(notes[12:12+ownerLen]), "\x00") // that of Go has two
		take(owner, kind, notes[text:text+uint64(textLen)])
		notes = notes[min(text+padded(textLen), uint64(len(notes))):]
	}
}

// lastPart returns the part of Go's build id that belongs to the file itself.
func lastPart(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }

// packageVersion returns the version in a note of a packager.
func packageVersion(text []byte) string {
	var note struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal([]byte(strings.TrimRight(string(text), "\x00")), &note)
	return buildText(note.Version)
}

// goVersion returns the version of the main module of a Go program.
func goVersion(r io.ReaderAt) (version string) {
	defer func() {
		if recover() != nil { // debug/elf promises nothing for files that are made to harm
			version = ""
		}
	}()
	info, err := buildinfo.Read(&boundedReader{r, maxBuildInfo})
	if err != nil || info.Main.Version == "(devel)" {
		return ""
	}
	return buildText(info.Main.Version)
}

// buildText returns a text that may be shown, or "".
func buildText(text string) string {
	isOther := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(text) > selector.MaxBuildText || strings.ContainsFunc(text, isOther) {
		return ""
	}
	return text
}

// boundedReader fails once more than left bytes are read.
type boundedReader struct {
	io.ReaderAt
	left int
}

func (b *boundedReader) ReadAt(buf []byte, at int64) (int, error) {
	if b.left -= len(buf); b.left < 0 {
		return 0, errors.New("too much is read")
	}
	return b.ReaderAt.ReadAt(buf, at)
}
