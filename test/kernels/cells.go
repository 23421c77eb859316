// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// cells are what stands in a kernel's row under each heading.
type cells map[string]string

// The headings that are not titles of groups.
const (
	headKernel   = "kernel"
	headRelease  = "release"
	headWithout  = "taken away"
	headSource   = "servers are found by"
	headSignals  = "signals of others seen"
	headGate     = "gate"
	headExits    = "exit codes by"
	headCache    = "look-ups in the cache"
	headRights   = "rights given up"
	headFirst    = "failed before"
	headPassed   = "tests passed"
	nothing      = "–"
	rightsGiven  = "the service gives up CAP_BPF and CAP_PERFMON"
	rightsNeeded = "the service keeps CAP_BPF and CAP_PERFMON"
)

// factHeads are the headings of the first table, testHeads of the second, and shortHeads of the README's.
func factHeads() []string {
	return []string{headKernel, headRelease, headWithout, headSource, headSignals, headGate, headExits, headCache, headRights, headFirst}
}

func testHeads() []string {
	heads := []string{headKernel}
	for _, g := range groups() {
		heads = append(heads, g.title)
	}
	return heads
}

func shortHeads() []string {
	return []string{headKernel, headSource, headSignals, headGate, headRights, headPassed}
}

func (r row) cells() cells {
	c := cells{
		headKernel: r.name, headRelease: r.found["kernel"], headWithout: r.without, headSource: r.source,
		headSignals: r.facilities.Signals, headGate: r.facilities.Gate, headExits: r.facilities.Exits, headCache: r.facilities.Cache,
		headRights: r.rights(), headFirst: r.earlier(),
	}
	for _, g := range groups() {
		c[g.title] = r.cell(g)
	}
	for head, text := range c {
		c[head] = plain(text)
	}
	return c
}

// rights are what doctor says of them, in a word.
func (r row) rights() string {
	switch found := r.found["afterwards"]; {
	case found == rightsGiven:
		return "yes"
	case strings.HasPrefix(found, rightsNeeded):
		return "no" + strings.TrimPrefix(found, rightsNeeded)
	default:
		return found
	}
}

// cell is how many tests of a group passed, or that some did not.
func (r row) cell(g group) string {
	result, ran := r.results[g.title]
	switch {
	case !ran && r.broken != nil && planned(r.kernel, g):
		return "**did not run**"
	case !ran:
		return nothing
	case r.groupProblem(g) != nil:
		failed := strings.Count("\n"+result.Output, "\n--- FAIL")
		return fmt.Sprintf("**%d of %d failed**", failed, failed+passed(result))
	}
	return strconv.Itoa(passed(result))
}

func planned(k kernel, g group) bool {
	_, runs := g.step(k.without)
	return runs
}

// plain is text that does not end a cell.
func plain(text string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "|", "/")), " ")
	if text == "" {
		return nothing
	}
	return text
}

// short are the cells of the README: answers without their reasons, and all tests in one number.
func (c cells) short() cells {
	s := cells{headKernel: c[headKernel], headSource: c[headSource], headPassed: c.passed()}
	for _, head := range []string{headSignals, headGate, headRights} {
		s[head], _, _ = strings.Cut(c[head], ":")
	}
	return s
}

func (c cells) passed() string {
	all := 0
	for _, g := range groups() {
		n, err := strconv.Atoi(c[g.title])
		if err != nil && c[g.title] != nothing {
			return "**not all**"
		}
		all += n
	}
	return strconv.Itoa(all)
}

// differences says under which headings a row that was written differs from one that was seen. The package's
// release changes with Debian's updates, and what failed before did so by chance.
func differences(written, seen cells, heads []string) []string {
	var all []string
	for _, head := range heads {
		if head == headRelease || head == headFirst || written[head] == seen[head] {
			continue
		}
		all = append(all, fmt.Sprintf("%s: %q, now %q", head, written[head], seen[head]))
	}
	return all
}
