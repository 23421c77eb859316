// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// limit is what the service may cost where nothing but it signals.
type limit struct {
	// prefix is how the names of its rows begin, part what is in them.
	prefix, part string
	// lost is the share of the upgrades that must not be reached, 0 for no call at all; -1 is no limit.
	lost float64
	// refused is how many calls of a round may be, -1 for no limit.
	refused int
}

// limits is the one place where they stand.
func limits() []limit {
	return []limit{
		{prefix: "bursts/", lost: 0.02, refused: -1},
		{prefix: "every-0.3s/", lost: 0.02, refused: -1},
		{prefix: "hardly/", lost: 0, refused: -1},
		{prefix: "bursts/", part: "/one-index/new-schema/", lost: -1, refused: 1},
		{prefix: "every-0.3s/", part: "/one-index/new-schema/", lost: -1, refused: 1},
	}
}

// allowed is how many calls may be lost in so many upgrades. One says nothing about few.
func (l limit) allowed(upgrades int) int {
	if l.lost == 0 {
		return 0
	}
	return max(1, int(math.Ceil(l.lost*float64(upgrades)))-1)
}

// broken says in a line for each what does not keep its limit.
func broken(f *figures) []string {
	if !strings.HasSuffix(f.Row, "/"+string(service)) {
		return nil
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, f.Row+": "+fmt.Sprintf(format, args...)) }
	for _, l := range limits() {
		if !strings.HasPrefix(f.Row, l.prefix) || !strings.Contains(f.Row, l.part) {
			continue
		}
		if l.lost >= 0 && f.Lost > l.allowed(f.Upgrades) {
			say("%d calls lost in %d upgrades, want at most %d", f.Lost, f.Upgrades, l.allowed(f.Upgrades))
		}
		if l.refused >= 0 && f.WorstRefused > l.refused {
			say("%d calls refused in a round, want at most %d", f.WorstRefused, l.refused)
		}
	}
	if f.Ended > 0 {
		say("%d sessions ended, want 0", f.Ended)
	}
	if f.Missed > 0 {
		say("%d servers were not upgraded, want 0", f.Missed)
	}
	return lines
}
