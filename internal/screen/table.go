// SPDX-License-Identifier: MIT

package screen

import (
	"io"
	"slices"
	"strings"
)

// gap is the space between two columns.
const gap = 2

// Column describes a column of a [Table].
type Column struct {
	Title string
	// Drop orders the columns that are left out of a narrow table: the highest first. 0: never.
	Drop int
	// Shrinks says that its cells may be cut. Enough is the width from which on other columns are left out rather than
	// this one is cut further.
	Shrinks Cut
	Enough  int
	// IsNumber aligns its cells on the right.
	IsNumber bool
}

// Cut says where a cell that is too wide is cut.
type Cut uint8

// The values of Cut.
const (
	Nowhere Cut = iota
	Middle      // of a path
	End         // of a sentence
)

// least is the width of a cell that tells something.
const least = 8

// Cell is a text with its style.
type Cell struct {
	Text  string
	Style Style
}

// Table has the rows of a table. It is written at once. One of which no column has a title has no header.
type Table struct {
	Columns []Column
	rows    [][]Cell
}

// NewTable returns a table with columns that are neither cut nor left out.
func NewTable(titles ...string) *Table {
	t := &Table{Columns: make([]Column, len(titles))}
	for i, title := range titles {
		t.Columns[i].Title = title
	}
	return t
}

// Add adds a row, with a cell for each column.
func (t *Table) Add(row ...Cell) { t.rows = append(t.rows, row) }

// Write writes the table as wide as the Look allows.
func (t *Table) Write(w io.Writer, l Look) error {
	widths := t.widths()
	if l.Width > 0 {
		t.fit(widths, l.Width)
	}
	var b strings.Builder
	header := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		header[i] = Cell{Text: c.Title}
	}
	rows := t.rows
	if slices.ContainsFunc(header, func(c Cell) bool { return c.Text != "" }) {
		rows = append([][]Cell{header}, rows...)
	}
	for _, row := range rows {
		t.writeRow(&b, l, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// dropped is the width of a column that is left out.
const dropped = -1

func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = len([]rune(c.Title))
		for _, row := range t.rows {
			widths[i] = max(widths[i], len([]rune(row[i].Text)))
		}
	}
	return widths
}

// fit leaves out columns until the others have enough, and cuts the widest of those until the table fits.
func (t *Table) fit(widths []int, limit int) {
	wanted := func() int {
		sum := -gap
		for i, c := range t.Columns {
			switch {
			case widths[i] == dropped:
			case c.Shrinks != Nowhere:
				sum += gap + min(widths[i], max(c.Enough, len(c.Title)))
			default:
				sum += gap + widths[i]
			}
		}
		return sum
	}
	for wanted() > limit {
		next := -1
		for i, c := range t.Columns {
			if c.Drop > 0 && widths[i] != dropped && (next < 0 || c.Drop > t.Columns[next].Drop) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		widths[next] = dropped
	}
	for over := total(widths) - limit; over > 0; over = total(widths) - limit {
		widest := -1
		for i, c := range t.Columns {
			if c.Shrinks != Nowhere && widths[i] > least && (widest < 0 || t.spare(widths, i) > t.spare(widths, widest)) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// spare is how much wider a column is than enough.
func (t *Table) spare(widths []int, i int) int { return widths[i] - t.Columns[i].Enough }

func total(widths []int) int {
	sum := -gap
	for _, w := range widths {
		if w != dropped {
			sum += gap + w
		}
	}
	return sum
}

func (t *Table) writeRow(b *strings.Builder, l Look, row []Cell, widths []int) {
	blanks := 0
	pad := func(n int) { blanks += max(0, n) }
	isFirst := true
	for i, cell := range row {
		if widths[i] == dropped {
			continue
		}
		if !isFirst {
			pad(gap)
		}
		isFirst = false
		text := t.Columns[i].Shrinks.cut(cell.Text, widths[i])
		rest := widths[i] - len([]rune(text))
		if t.Columns[i].IsNumber {
			pad(rest)
			rest = 0
		}
		if text != "" { // no blanks at the end of a line
			b.WriteString(strings.Repeat(" ", blanks))
			b.WriteString(l.Paint(cell.Style, text))
			blanks = 0
		}
		pad(rest)
	}
	b.WriteByte('\n')
}

// cut shortens text to a width, with an ellipsis where something is missing.
func (c Cut) cut(text string, width int) string {
	runes := []rune(text)
	if c == Nowhere || len(runes) <= width {
		return text
	}
	head := width - 1
	if c == Middle {
		head = (width - 1) / 3 // the end of a path says more
	}
	tail := runes[len(runes)-(width-1-head):]
	return string(slices.Concat(runes[:head], []rune("…"), tail))
}

// Remove removes columns with their cells, as far as the table has them.
func (t *Table) Remove(titles ...string) {
	for i, c := range slices.Backward(t.Columns) {
		if !slices.Contains(titles, c.Title) {
			continue
		}
		t.Columns = slices.Delete(t.Columns, i, i+1)
		for n, row := range t.rows {
			t.rows[n] = slices.Delete(row, i, i+1)
		}
	}
}
