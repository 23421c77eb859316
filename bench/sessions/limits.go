// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// limit bounds the cost of the service in rows where only the service signals.
type limit struct {
	// prefix begins the names of the rows. part is contained in them.
	prefix, part string
	// lost is the number of lost calls per upgrade that must not be reached. 0 allows no lost call, -1 is no limit.
	lost float64
	// refused is the number of refused calls that a round may have; -1 is no limit.
	refused int
}

// limits lists all limits.
func limits() []limit {
	return []limit{
		{prefix: "bursts/", lost: 0.02, refused: -1},
		{prefix: "every-0.3s/", lost: 0.02, refused: -1},
		{prefix: "hardly/", lost: 0, refused: -1},
		{prefix: "bursts/", part: "/one-index/new-schema/", lost: -1, refused: 1},
		{prefix: "every-0.3s/", part: "/one-index/new-schema/", lost: -1, refused: 1},
	}
}

// allowed returns how many calls may be lost in a number of upgrades. A single lost call proves nothing in a short
// run.
func (l limit) allowed(upgrades int) int {
	if l.lost == 0 {
		return 0
	}
	return max(1, int(math.Ceil(l.lost*float64(upgrades)))-1)
}

// broken has a line for each broken limit.
func broken(f *figures) []string {
	if !strings.HasSuffix(f.Row, "/"+string(service)) {
		return nil
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, f.Row+": "+fmt.Sprintf(format, args...)) }
	for _, l := range limits() {
		if !strings.HasPrefix(f.Row, l.prefix) || !strings.Contains(f.Row, l.part) {
			continue
		}
		if l.lost >= 0 && f.Lost > l.allowed(f.Upgrades) {
			add("%d calls lost in %d upgrades, want at most %d", f.Lost, f.Upgrades, l.allowed(f.Upgrades))
		}
		if l.refused >= 0 && f.WorstRefused > l.refused {
			add("%d calls refused in a round, want at most %d", f.WorstRefused, l.refused)
		}
	}
	if f.Ended > 0 {
		add("%d sessions ended, want 0", f.Ended)
	}
	if f.Missed > 0 {
		add("%d servers were not upgraded, want 0", f.Missed)
	}
	return lines
}
