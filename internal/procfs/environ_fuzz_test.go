// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// FuzzDataDirectory compares the data directory with a plain implementation of rag-rat's rule.
func FuzzDataDirectory(f *testing.F) {
	f.Add([]byte("RAG_RAT_DATA_DIR=/data/\x00HOME=/home/a\x00"))
	f.Add([]byte("RAG_RAT_DATA_DIR=\x00XDG_DATA_HOME=/x/../y\x00HOME=/home/a\x00"))
	f.Add([]byte("XDG_DATA_HOME=relative\x00HOME=//h/./a\x00HOME=/b\x00"))
	f.Add([]byte("HOME=/" + strings.Repeat("a/", 2100) + "\x00"))
	f.Fuzz(func(t *testing.T, environ []byte) {
		value := func(name string) string {
			v, _ := getenv(string(environ), name)
			return v
		}
		want := value("HOME")
		if want != "" {
			want += "/.local/share/rag-rat"
		}
		if base := value("XDG_DATA_HOME"); strings.HasPrefix(base, "/") {
			want = base + "/rag-rat"
		}
		if own := value("RAG_RAT_DATA_DIR"); own != "" {
			want = own
		}
		switch {
		case len(want) > 4095:
			want = ""
		case want != "":
			want = path.Clean(want)
		}
		if got := dataDirectory(environ); got != want {
			t.Errorf("%q has the data directory %q, want %q", environ, got, want)
		}
	})
}

// FuzzWatchLine hides a watch behind other text of the same line, as later kernels may write it.
func FuzzWatchLine(f *testing.F) {
	f.Add("wd:1 ", uint64(0x9e7e), uint32(0x800013), " mask:800afce ignored_mask:0 fhandle-bytes:8")
	f.Add("", uint64(1), uint32(1), "ino: sdev:")
	f.Add("ino:zz sdev:-1 ", uint64(1<<63), uint32(1<<31), "\n")
	f.Fuzz(func(t *testing.T, before string, ino uint64, device uint32, after string) {
		dir := selector.Image{Dev: unix.Mkdev(device>>20, device&(1<<20-1)), Ino: ino}
		line := fmt.Appendf(nil, "inotify %s ino:%x sdev:%x %s", before, ino, device, after)
		isPlain := !strings.Contains(before+after, "ino:") && !strings.Contains(before+after, "sdev:")
		if got := isWatchOn(line, dir); isPlain && got != (ino != 0) {
			t.Errorf("isWatchOn(%q, %v) = %t", line, dir, got)
		}
		other := dir
		other.Ino++
		if isPlain && isWatchOn(line, other) {
			t.Errorf("isWatchOn(%q, %v) = true", line, other)
		}
	})
}

// FuzzIO compares the counters with a plain implementation.
func FuzzIO(f *testing.F) {
	f.Add([]byte("rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\n"))
	f.Add([]byte("rchar: 1\nwchar: 2\nsyscr: 3\nsyscr: 4\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseIO(text)
		if err != nil {
			return
		}
		first := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if _, isKnown := first[name]; !isKnown {
				first[name] = value
			}
		}
		for name, got := range map[string]uint64{"rchar": a.BytesRead, "wchar": a.BytesWritten, "syscr": a.Reads, "syscw": a.Writes} {
			if want := strings.TrimLeft(first[name], "0"); want != strings.TrimLeft(fmt.Sprint(got), "0") {
				t.Errorf("%q has %s = %d, want %q", text, name, got, want)
			}
		}
	})
}
