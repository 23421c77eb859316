// SPDX-License-Identifier: MIT

package install

import (
	"bytes"
	"testing"
)

func scriptLines() []string {
	return []string{
		"#!/bin/sh\n", "#! /bin/sh -e\n", "#!\t/bin/sh\t-e \n", "#!/bin/sh", "#!", "#!\n", "#!  \t\n", "#!sh\n", "#!/a\x00b\n",
		"#!\x00/a\n", "#!/bin/sh\r\n", "#!/bin/sh\n\x00", "\x7fELF", "", "#", "# !/bin/sh",
		"#!/" + string(bytes.Repeat([]byte("x"), 251)) + "\nx", "#!/" + string(bytes.Repeat([]byte("x"), 252)) + "\n",
		"#!/" + string(bytes.Repeat([]byte("x"), 253)), "#!/" + string(bytes.Repeat([]byte("x"), 252)) + " ",
		"#!" + string(bytes.Repeat([]byte(" "), 254)), "#!" + string(bytes.Repeat([]byte(" "), 252)) + "/a",
	}
}

// FuzzScriptLine compares the parsed first line of a script with a step-by-step copy of load_script in fs/binfmt_script.c
// (Linux 6.12).
func FuzzScriptLine(f *testing.F) {
	for _, line := range scriptLines() {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		head := file[:min(len(file), scriptLineLen)]
		want := asTheKernelReads(head)
		got, isScript, err := scriptInterpreter(head)
		if isScript != bytes.HasPrefix(head, []byte("#!")) {
			t.Fatalf("%q is a script: %t", head, isScript)
		}
		if want == "" || want[0] != '/' {
			if got != "" || isScript && err == nil {
				t.Fatalf("%q has the interpreter %q, %v; want an error", head, got, err)
			}
			return
		}
		if got != want || err != nil {
			t.Fatalf("%q has the interpreter %q, %v; want %q", head, got, err, want)
		}
	})
}

// asTheKernelReads returns "" if the kernel fails with ENOEXEC, or would open "".
func asTheKernelReads(head []byte) string {
	var buf [scriptLineLen]byte
	copy(buf[:], head)
	if buf[0] != '#' || buf[1] != '!' {
		return ""
	}
	end := endOfLine(buf[:])
	if end < 0 {
		name := skipBlanks(buf[:], 2, len(buf)-1)
		if name < 0 || findTerminator(buf[:], name, len(buf)-1) < 0 {
			return ""
		}
		end = len(buf) - 1
	}
	for isBlank(buf[end-1]) {
		end--
	}
	name := skipBlanks(buf[:], 2, end)
	if name < 0 || name == end {
		return ""
	}
	sep := findTerminator(buf[:], name, end)
	if sep < 0 {
		sep = end
	}
	text, _, _ := bytes.Cut(buf[name:sep], []byte{0})
	return string(text)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// endOfLine is strnchr, which stops at NUL.
func endOfLine(buf []byte) int {
	for i, c := range buf {
		switch c {
		case '\n':
			return i
		case 0:
			return -1
		}
	}
	return -1
}

// skipBlanks is next_non_spacetab; the last byte counts.
func skipBlanks(buf []byte, first, last int) int {
	for ; first <= last; first++ {
		if !isBlank(buf[first]) {
			return first
		}
	}
	return -1
}

// findTerminator is next_terminator; the last byte counts.
func findTerminator(buf []byte, first, last int) int {
	for ; first <= last; first++ {
		if isBlank(buf[first]) || buf[first] == 0 {
			return first
		}
	}
	return -1
}
