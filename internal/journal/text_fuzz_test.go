// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"bytes"
	"testing"
)

// FuzzText writes a text that need not be UTF-8, and reads the same text again. Users choose paths.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "/usr/bin/rag-rat", "a\"\\\n\x00", "\xff\xfe", "é<\u2028>", "`'", "\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := encode(struct{ T text }{text(s)})
		var read struct{ T text }
		if err := decode(line, &read); err != nil || string(read.T) != s {
			t.Errorf("%q is written as %q, and read as %q, %v", s, line, read.T, err)
		}
		if bytes.Count(line, []byte{'\n'}) != 1 {
			t.Errorf("%q is written as several lines: %q", s, line)
		}
	})
}
