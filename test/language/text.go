// SPDX-License-Identifier: MIT

package main

import (
	"regexp"
	"strings"
	"unicode"
)

// text is what the rules apply to in one file.
type text struct {
	passages []passage
	tests    []line
}

// line is one line of a text, with its number in the file.
type line struct {
	number int
	text   string
}

// passage is a text that no sentence leaves: a paragraph, an item of a list, a heading or a cell of a table.
type passage []line

// sentence begins at a line of a file. Its words are counted; a code span or an address counts as one.
type sentence struct {
	line  int
	words int
	text  string
}

// placeholder stands for what is no language: code spans, addresses, values in a message.
const placeholder = "§"

var (
	codeSpan   = regexp.MustCompile("``[^`]+``|`[^`]*`")
	address    = regexp.MustCompile(`\b(https?|unix|file)://[^\s)>]*[^\s)>.,;:!?]`)
	linkTarget = regexp.MustCompile(`\]\([^)]*\)`)
	htmlTag    = regexp.MustCompile(`</?[a-z]+[^>]*>`)
)

// language returns the passage without code spans, addresses, link targets and tags. Lines stay lines.
func (p passage) language() string {
	var b strings.Builder
	for _, l := range p {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	all := codeSpan.ReplaceAllStringFunc(b.String(), func(span string) string {
		return placeholder + strings.Repeat("\n", strings.Count(span, "\n"))
	})
	all = address.ReplaceAllString(all, placeholder)
	all = linkTarget.ReplaceAllStringFunc(all, func(target string) string {
		return "]" + strings.Repeat("\n", strings.Count(target, "\n"))
	})
	return htmlTag.ReplaceAllString(all, "")
}

// sentences cuts the passage at full stops, question marks and exclamation marks. The end of the passage ends a
// sentence too, so that an item of a list needs no full stop.
func (p passage) sentences() []sentence {
	var all []sentence
	var words []string
	begin := 0
	finish := func() {
		s := sentence{line: begin, text: strings.Join(words, " ")}
		for _, word := range words {
			if isWord(word) {
				s.words++
			}
		}
		if s.words > 0 {
			all = append(all, s)
		}
		words = nil
	}
	for i, l := range strings.Split(p.language(), "\n") {
		for word := range strings.FieldsSeq(l) {
			if len(words) == 0 {
				begin = p[i].number
			}
			words = append(words, word)
			if endsSentence(word) {
				finish()
			}
		}
	}
	finish()
	return all
}

func isWord(token string) bool {
	return strings.ContainsFunc(token, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || string(r) == placeholder
	})
}

// abbreviations end with a full stop that ends no sentence.
var abbreviations = map[string]bool{
	"e.g.": true, "i.e.": true, "cf.": true, "vs.": true, "approx.": true, "resp.": true, "incl.": true, "ca.": true,
}

func endsSentence(token string) bool {
	token = strings.TrimRight(token, `)"'”’*_]`)
	if !isWord(token) { // "..." stands for something left out
		return false
	}
	bare := strings.ToLower(strings.TrimLeft(token, `("'*_[`))
	return strings.ContainsAny(token[len(token)-1:], ".!?") && !abbreviations[bare]
}
