// SPDX-License-Identifier: MIT

package screen

import (
	"bytes"
	"strings"
	"testing"
)

func exampleTable() *Table {
	t := &Table{Columns: []Column{
		{Title: "PATH", Shrinks: Middle, Enough: 20},
		{Title: "USER", Drop: 1},
		{Title: "N", Drop: 2, IsNumber: true},
		{Title: "STATE", Shrinks: End, Enough: 10},
	}}
	t.Add(Cell{Text: "/home/ana/.cache/agents/1.4.2/rag-rat"}, Cell{Text: "ana"}, Cell{Text: "12"}, Cell{Text: "HALTED: 1 crashed", Style: Bad})
	t.Add(Cell{Text: "/usr/bin/rag-rat"}, Cell{Text: "bob"}, Cell{Text: "3"}, Cell{Text: ""})
	return t
}

func TestTable_Widths_DropFirstThenCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		look Look
		want string
	}{
		{Look{}, "" +
			"PATH                                   USER   N  STATE\n" +
			"/home/ana/.cache/agents/1.4.2/rag-rat  ana   12  HALTED: 1 crashed\n" +
			"/usr/bin/rag-rat                       bob    3\n"},
		{Look{Width: 50}, "" +
			"PATH                      USER   N  STATE\n" +
			"/home/a…ts/1.4.2/rag-rat  ana   12  HALTED: 1 cra…\n" +
			"/usr/bin/rag-rat          bob    3\n"},
		{Look{Width: 30}, "" +
			"PATH                 STATE\n" +
			"/home/….4.2/rag-rat  HALTED: …\n" +
			"/usr/bin/rag-rat\n"},
		{Look{Width: 5}, "" +
			"PATH      STATE\n" +
			"/h…g-rat  HALTED:…\n" +
			"/u…g-rat\n"},
	} {
		var out bytes.Buffer
		if err := exampleTable().Write(&out, c.look); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); c.look.Width > 20 && n > c.look.Width {
				t.Errorf("%d columns of %d: %q", n, c.look.Width, line)
			}
			if strings.HasSuffix(line, " \n") {
				t.Errorf("blanks at the end of %q", line)
			}
		}
		if out.String() != c.want {
			t.Errorf("width %d:\n%s", c.look.Width, out.String())
		}
	}
}

func TestTable_Color_DoesNotMoveColumns(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := exampleTable()
	table.Remove("PATH")
	if err := table.Write(&out, Look{HasColor: true}); err != nil {
		t.Fatal(err)
	}
	const want = "USER   N  STATE\nana   12  \x1b[1;31mHALTED: 1 crashed\x1b[0m\nbob    3\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestWrap_LongText_IsIndented(t *testing.T) {
	t.Parallel()
	const text = "one two  three four-is-longer-than-a-line five"
	if got, want := (Look{Width: 14}).Wrap(text, 2), "one two\n  three\n  four-is-longer-than-a-line\n  five"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (Look{}).Wrap(text, 2), strings.Join(strings.Fields(text), " "); got != want {
		t.Errorf("in a pipe: %q, want %q", got, want)
	}
}

func TestLook_NoTerminal_HasNoColor(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	none := func(string) string { return "" }
	if l := LookOf(&out, Auto, none); l != (Look{}) {
		t.Errorf("of a pipe: %+v", l)
	}
	if l := LookOf(&out, Always, none); !l.HasColor {
		t.Error("no colour with always")
	}
}
