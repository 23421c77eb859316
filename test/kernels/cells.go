// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// cells are the texts in the row of a kernel, by their headings.
type cells map[string]string

// The headings that are not titles of groups, and fixed texts.
const (
	headKernel        = "kernel"
	headRelease       = "release"
	headWithout       = "removed"
	headSource        = "servers are found by"
	headSignals       = "signals of others seen"
	headGate          = "gate"
	headExits         = "exit codes by"
	headCache         = "look-ups in the cache"
	headCapabilities  = "capabilities dropped"
	headFirst         = "failed before"
	headPassed        = "tests passed"
	nothing           = "–"
	dropsCapabilities = "the service gives up CAP_BPF and CAP_PERFMON"
	keepsCapabilities = "the service keeps CAP_BPF and CAP_PERFMON"
)

// factHeads are the headings of the first table, testHeads those of the second, shortHeads those of the README.
func factHeads() []string {
	return []string{headKernel, headRelease, headWithout, headSource, headSignals, headGate, headExits, headCache, headCapabilities, headFirst}
}

func testHeads() []string {
	heads := []string{headKernel}
	for _, g := range groups() {
		heads = append(heads, g.title)
	}
	return heads
}

func shortHeads() []string {
	return []string{headKernel, headSource, headSignals, headGate, headCapabilities, headPassed}
}

func (r row) cells() cells {
	c := cells{
		headKernel: r.name, headRelease: r.found["kernel"], headWithout: r.without, headSource: r.source,
		headSignals: r.facilities.Signals, headGate: r.facilities.Gate, headExits: r.facilities.Exits, headCache: r.facilities.Cache,
		headCapabilities: r.capabilities(), headFirst: r.earlier(),
	}
	for _, g := range groups() {
		c[g.title] = r.cell(g)
	}
	for head, text := range c {
		c[head] = plain(text)
	}
	return c
}

// capabilities shortens what doctor found about dropping them.
func (r row) capabilities() string {
	switch found := r.found["afterwards"]; {
	case found == dropsCapabilities:
		return "yes"
	case strings.HasPrefix(found, keepsCapabilities):
		return "no" + strings.TrimPrefix(found, keepsCapabilities)
	default:
		return found
	}
}

// cell is the number of passed tests of a group, or of failed ones.
func (r row) cell(g group) string {
	result, ran := r.results[g.title]
	switch {
	case !ran && r.bootErr != nil && planned(r.kernel, g):
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

// plain removes characters that end a cell.
func plain(text string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "|", "/")), " ")
	if text == "" {
		return nothing
	}
	return text
}

// short returns the cells of the README: answers without their reasons, and the number of all tests.
func (c cells) short() cells {
	s := cells{headKernel: c[headKernel], headSource: c[headSource], headPassed: c.passed()}
	for _, head := range []string{headSignals, headGate, headCapabilities} {
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

// differences lists the headings under which a written row differs from a new one. It ignores the release of the
// package, which changes with Debian's updates, and earlier failures, which are accidental.
func differences(written, now cells, heads []string) []string {
	var all []string
	for _, head := range heads {
		if head == headRelease || head == headFirst || written[head] == now[head] {
			continue
		}
		all = append(all, fmt.Sprintf("%s: %q, now %q", head, written[head], now[head]))
	}
	return all
}
