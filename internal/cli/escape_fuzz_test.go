// SPDX-License-Identifier: MIT

package cli

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// FuzzPrintable prints any text of a process in one line of printable characters, in a table and in JSON.
func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"/usr/bin/rag-rat", "\x1b[2J", "a\nb", "\u202e", "\xff", "\u2028\U000e0001", "\x7f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := printable(s); strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q is printed as %q", s, got)
		}
		plain, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := (escaped{&out}).Write(plain); n != len(plain) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q is written as %q", s, out.String())
		}
		var read, want string
		if err := json.Unmarshal(out.Bytes(), &read); err != nil {
			t.Fatalf("%q is written as %q: %v", s, out.String(), err)
		}
		if err := json.Unmarshal(plain, &want); err != nil || read != want {
			t.Errorf("%q is read as %q, want %q, %v", s, read, want, err)
		}
	})
}
