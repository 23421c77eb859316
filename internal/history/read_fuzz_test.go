// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"bytes"
	"os"
	"testing"
)

// FuzzRead_AnyFile: whatever a file has, what is read of it can be written, and is then read again.
func FuzzRead_AnyFile(f *testing.F) {
	f.Add([]byte(`{"n":1,"user":-1,"entry":{"a":1}}` + "\n" + `{"n":2,"user":1000,"entry":{}}`))
	f.Add([]byte("{}\n[]\n\x00\n" + `{"n":1,"user":1,"entry":`))
	f.Add(bytes.Repeat([]byte("x"), maxLine+10))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(newPath(dir, "test"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		entries, _ := Read(dir, "test", 1<<20)
		var written []byte
		for i, e := range entries {
			line, err := e.line()
			if err != nil || e.Number == 0 || i > 0 && e.Number <= entries[i-1].Number {
				t.Fatalf("entry %d is %+v: %v", i, e, err)
			}
			if len(line) <= maxLine { // escapes may make it longer
				written = append(written, line...)
			}
		}
		again, damaged, err := readLines(bytes.NewReader(written))
		if err != nil || damaged > 0 || len(again) > len(entries) {
			t.Fatalf("%d entries, %d damaged, %v: %q", len(again), damaged, err, written)
		}
	})
}
