// SPDX-License-Identifier: MIT

package sys_test

import (
	"strings"
	"testing"

	"ebpf-upgrader/internal/sys"
)

// FuzzStatFields joins the fields again: they are the text behind the name, without a gap.
func FuzzStatFields(f *testing.F) {
	f.Add([]byte("812 (cat) S 1 2 3\n"))
	f.Add([]byte("1 ((a) b) c)\n) Z  1"))
	f.Add([]byte(") ("))
	f.Fuzz(func(t *testing.T, line []byte) {
		var joined strings.Builder
		want := 3
		for number, field := range sys.StatFields(line) {
			if number != want || len(field) == 0 || strings.ContainsRune(string(field), ' ') {
				t.Fatalf("%q has field %d = %q, want number %d", line, number, field, want)
			}
			want++
			joined.WriteString(" " + string(field))
		}
		_, rest, _ := strings.Cut(string(line), "(")
		rest = rest[strings.LastIndexByte(rest, ')')+1:]
		if !strings.HasPrefix(rest, joined.String()) {
			t.Errorf("%q has the fields %q", line, joined.String())
		}
		if left := strings.TrimSuffix(rest[joined.Len():], "\n"); joined.Len() > 0 && left != "" && !strings.HasPrefix(left, "  ") && left != " " {
			t.Errorf("%q ends before %q", line, left)
		}
	})
}
