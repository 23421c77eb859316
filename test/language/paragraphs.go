// SPDX-License-Identifier: MIT

package main

import (
	"regexp"
	"strings"
)

// paragraphs collects lines into passages.
type paragraphs struct {
	// codeIndent is the number of columns from which on a line outside of a list is code.
	codeIndent int

	all     []passage
	current passage
	inList  bool
	// itemIndent is the column of the marker of the current list.
	itemIndent int
	fence      string
	inComment  bool
}

var (
	item      = regexp.MustCompile(`^\s*([-*+•]|\d+[.)])\s+`)
	heading   = regexp.MustCompile(`^#{1,6}\s+`)
	fenceMark = regexp.MustCompile("^\\s*(```+|~~~+)")
	linkTo    = regexp.MustCompile(`^\[[^\]]+\]:\s`)
)

// split cuts lines into passages. It leaves out fenced and indented code, HTML comments and link definitions.
func split(lines []line, codeIndent int) []passage {
	p := paragraphs{codeIndent: codeIndent}
	for _, l := range lines {
		if !p.skip(l.text) {
			p.add(l)
		}
	}
	p.end()
	return p.all
}

// skip follows fences and HTML comments, and is true for what belongs to one.
func (p *paragraphs) skip(text string) bool {
	mark := fenceMark.FindStringSubmatch(text)
	switch {
	case p.fence != "":
		if mark != nil && strings.HasPrefix(mark[1], p.fence) {
			p.fence = ""
		}
		return true
	case p.inComment:
		p.inComment = !strings.Contains(text, "-->")
		return true
	case mark != nil:
		p.end()
		p.fence = mark[1]
		return true
	case strings.HasPrefix(strings.TrimSpace(text), "<!--"):
		p.end()
		p.inComment = !strings.Contains(text, "-->")
		return true
	}
	return linkTo.MatchString(text)
}

func (p *paragraphs) add(l line) {
	for l.text != "" && l.text[0] == '>' {
		l.text = strings.TrimPrefix(l.text[1:], " ")
	}
	trimmed := strings.TrimSpace(l.text)
	indent := columns(l.text)
	marker := item.FindString(l.text)
	switch {
	case trimmed == "":
		p.end()
	case strings.HasPrefix(trimmed, "|"):
		p.end()
		p.addCells(l.number, trimmed)
	case heading.MatchString(l.text):
		p.end()
		p.inList = false
		p.current = passage{{l.number, heading.ReplaceAllString(l.text, "")}}
		p.end()
	case marker != "" && (p.inList || indent < 4):
		p.end()
		p.inList, p.itemIndent = true, indent
		p.current = passage{{l.number, l.text[len(marker):]}}
	case p.inList && (indent > p.itemIndent || indent == 0 && p.itemIndent == 0 && len(p.current) > 0):
		p.current = append(p.current, l)
	case indent >= p.codeIndent && len(p.current) == 0:
	case indent >= p.codeIndent && p.codeIndent < 4:
		p.end()
	default:
		if p.inList {
			p.end()
			p.inList = false
		}
		p.current = append(p.current, l)
	}
}

// addCells makes a passage of each cell of a table's row.
func (p *paragraphs) addCells(number int, row string) {
	row = codeSpan.ReplaceAllString(row, placeholder) // a span may contain a bar
	for cell := range strings.SplitSeq(strings.Trim(row, "|"), "|") {
		p.current = passage{{number, cell}}
		p.end()
	}
}

func (p *paragraphs) end() {
	if len(p.current) > 0 {
		p.all = append(p.all, p.current)
	}
	p.current = nil
}

// columns is the width of a line's indentation, with a tab at every fourth column.
func columns(text string) int {
	width := 0
	for _, r := range text {
		switch r {
		case ' ':
			width++
		case '\t':
			width += 4 - width%4
		default:
			return width
		}
	}
	return width
}
