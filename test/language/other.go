// SPDX-License-Identifier: MIT

package main

import (
	"strings"
)

// parseMarkdown takes the whole document; split leaves out its code.
func parseMarkdown(_ string, source []byte) (text, error) {
	var lines []line
	for i, l := range strings.Split(string(source), "\n") {
		lines = append(lines, line{i + 1, l})
	}
	return text{passages: split(lines, 4)}, nil
}

// parseHash finds the comments that begin with a hash and stand on lines of their own.
func parseHash(_ string, source []byte) (text, error) {
	var lines []line
	for i, l := range strings.Split(string(source), "\n") {
		comment, isComment := strings.CutPrefix(strings.TrimSpace(l), "#")
		if !isComment || strings.HasPrefix(comment, "!") {
			comment = ""
		}
		lines = append(lines, line{i + 1, strings.TrimPrefix(comment, " ")})
	}
	return text{passages: split(withoutLicence(lines), 1)}, nil
}

// block takes a comment between /* and */ apart, without the stars in front of its lines.
func block(number int, comment string) []line {
	comment = strings.TrimSuffix(strings.TrimPrefix(comment, "/*"), "*/")
	var lines []line
	for l := range strings.SplitSeq(comment, "\n") {
		l = strings.TrimSpace(l)
		l = strings.TrimPrefix(strings.TrimPrefix(l, "*"), " ")
		lines = append(lines, line{number, l})
		number++
	}
	return lines
}

// parseC finds the comments. A line comment continues the one of the line above if no code stands before either.
func parseC(_ string, source []byte) (text, error) {
	var found text
	var pending []line
	flush := func() {
		found.passages = append(found.passages, split(withoutLicence(pending), 1)...)
		pending = nil
	}
	s := scanner{rest: string(source), number: 1}
	for s.next() {
		if strings.HasPrefix(s.comment, "/*") {
			flush()
			pending = block(s.begin, s.comment)
			flush()
			continue
		}
		if len(pending) > 0 && (s.afterCode || pending[len(pending)-1].number != s.begin-1) {
			flush()
		}
		pending = append(pending, line{s.begin, strings.TrimPrefix(s.comment[2:], " ")})
		if s.afterCode {
			flush()
		}
	}
	flush()
	return found, nil
}

// scanner finds the comments of a C file, and passes over its strings.
type scanner struct {
	rest   string
	number int // of the line where rest begins

	comment   string
	begin     int
	afterCode bool
	code      bool // stands on the current line
}

// next finds the next comment; false at the end of the file.
func (s *scanner) next() bool {
	for s.rest != "" {
		switch {
		case strings.HasPrefix(s.rest, "//"):
			return s.found(max(strings.Index(s.rest+"\n", "\n"), 0))
		case strings.HasPrefix(s.rest, "/*"):
			end := strings.Index(s.rest[2:], "*/")
			if end < 0 {
				return s.found(len(s.rest))
			}
			return s.found(end + 4)
		case s.rest[0] == '"' || s.rest[0] == '\'':
			s.code = true
			s.take(quoted(s.rest))
		default:
			s.code = s.rest[0] != '\n' && (s.code || s.rest[0] != ' ' && s.rest[0] != '\t')
			s.take(1)
		}
	}
	return false
}

func (s *scanner) found(length int) bool {
	s.begin, s.afterCode = s.number, s.code
	s.comment = s.take(length)
	return true
}

func (s *scanner) take(length int) string {
	taken := s.rest[:length]
	s.rest = s.rest[length:]
	s.number += strings.Count(taken, "\n")
	return taken
}

// quoted is the length of the string or the character at the beginning of a text.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		case '\n':
			return i
		}
	}
	return len(text)
}
