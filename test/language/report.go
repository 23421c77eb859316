// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
)

// The limits of CONTRIBUTING.md.
const (
	maxSentence = 40 // words
	maxTestName = 50 // characters
	// maxPronouns is per 1,000 words of all that is read: a quotation may need one.
	maxPronouns = 0.5
)

// pronoun is a pronoun of persons. A process is "it", a user is "they".
var pronoun = regexp.MustCompile(`(?i)\b(who|whom|whose|he|him|his|nobody|somebody|everybody|anybody)\b`)

// place is where a rule is broken, or a sentence that printLongest may list.
type place struct {
	file  string
	line  int
	words int
	text  string
}

func (p place) String() string { return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text) }

// count is what was found in one folder.
type count struct{ words, pronouns, long, tests int }

// report is what was read and what was found.
type report struct {
	count
	folders   map[string]*count
	findings  []place
	sentences []place
}

func newReport() *report { return &report{folders: make(map[string]*count)} }

func (r *report) add(file string, t text) {
	folder := r.folders[filepath.Dir(file)]
	if folder == nil {
		folder = new(count)
		r.folders[filepath.Dir(file)] = folder
	}
	var here count
	find := func(number int, format string, args ...any) {
		r.findings = append(r.findings, place{file: file, line: number, text: fmt.Sprintf(format, args...)})
	}
	for _, p := range t.passages {
		for _, s := range p.sentences() {
			here.words += s.words
			r.sentences = append(r.sentences, place{file, s.line, s.words, s.text})
			for _, word := range pronoun.FindAllString(s.text, -1) {
				here.pronouns++
				find(s.line, "%q: %s", word, s.text)
			}
			if s.words > maxSentence {
				here.long++
				find(s.line, "%d words: %s", s.words, s.text)
			}
		}
	}
	for _, test := range t.tests {
		if len(test.text) > maxTestName {
			here.tests++
			find(test.number, "%d characters: %s", len(test.text), test.text)
		}
	}
	folder.plus(here)
	r.plus(here)
}

func (c *count) plus(other count) {
	c.words += other.words
	c.pronouns += other.pronouns
	c.long += other.long
	c.tests += other.tests
}

func (c *count) perThousand() float64 { return float64(c.pronouns) * 1000 / float64(max(c.words, 1)) }

func (c *count) fails() bool { return c.perThousand() > maxPronouns || c.long > 0 || c.tests > 0 }

func (c *count) String() string {
	return fmt.Sprintf("%d words; %d pronouns of persons (%.2f per 1,000, limit %.1f); %d sentences over %d words; %d test names over %d characters",
		c.words, c.pronouns, c.perThousand(), maxPronouns, c.long, maxSentence, c.tests, maxTestName)
}

// print lists the places, pronouns also if they are within the limit.
func (r *report) print(out io.Writer) {
	for _, found := range r.findings {
		fmt.Fprintln(out, found)
	}
	fmt.Fprintln(out, &r.count)
}

func (r *report) printSummary(out io.Writer) {
	fmt.Fprintf(out, "%7s %8s %5s %5s\n", "words", "pronouns", "long", "tests")
	for _, folder := range slices.Sorted(maps.Keys(r.folders)) {
		c := r.folders[folder]
		fmt.Fprintf(out, "%7d %8d %5d %5d  %s\n", c.words, c.pronouns, c.long, c.tests, folder)
	}
	fmt.Fprintln(out, &r.count)
}

func (r *report) printLongest(out io.Writer, limit int) {
	slices.SortStableFunc(r.sentences, func(a, b place) int { return cmp.Compare(b.words, a.words) })
	for _, s := range r.sentences[:min(limit, len(r.sentences))] {
		fmt.Fprintf(out, "%s:%d: %d words: %s\n", s.file, s.line, s.words, s.text)
	}
}
