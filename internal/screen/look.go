// SPDX-License-Identifier: MIT

package screen

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Look says how text is written. The zero Look is that of a pipe: lines of any length without colour.
type Look struct {
	// Width is the number of columns, and Height that of lines; 0: no limit.
	Width, Height int
	// HasColor says that text may be coloured.
	HasColor bool
}

// When says when text is coloured.
type When string

// The values of When.
const (
	Auto   When = "auto" // on a terminal, unless NO_COLOR is set or TERM is dumb
	Always When = "always"
	Never  When = "never"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// LookOf returns the Look of w at present: the size of a terminal may change.
func LookOf(w io.Writer, color When, getenv func(string) string) Look {
	l := Look{HasColor: color == Always}
	if !IsTerminal(w) {
		return l
	}
	if width, height, err := term.GetSize(int(w.(*os.File).Fd())); err == nil {
		l.Width, l.Height = width, height
	}
	if color == Auto {
		l.HasColor = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	}
	return l
}

// Style is a meaning that is shown by a colour.
type Style uint8

// The styles.
const (
	Plain Style = iota
	Good
	Warning
	Bad
	Faint
)

var colors = [...]string{Good: "32", Warning: "33", Bad: "1;31", Faint: "2"}

// Paint returns text in a style.
func (l Look) Paint(style Style, text string) string {
	if !l.HasColor || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + colors[style] + "m" + text + "\x1b[0m"
}

// Wrap returns text in lines that fit. Each further line begins with indent blanks, and the first one follows as many
// columns. A word that is longer than a line is not broken.
func (l Look) Wrap(text string, indent int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		size := len([]rune(word))
		switch {
		case i == 0:
		case l.Width > 0 && column+1+size > l.Width && column > indent:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}
