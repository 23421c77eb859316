// SPDX-License-Identifier: MIT

package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Explain says in words what the policy means, a line for each fact.
func (p *Policy) Explain() []string {
	var lines []string
	for i, w := range p.Waves {
		lines = append(lines, p.explainWave(i, w))
	}
	lines = append(lines,
		fmt.Sprintf("A host with a seat that is not heard of for %s counts as failed until it is back.", p.Vanish),
		p.total())
	if p.Paused != "" {
		lines = append(lines, fmt.Sprintf("PAUSED: no host enters (%q). Hosts with a seat finish.", p.Paused))
	}
	if p.Pinned != "" {
		lines = append(lines, fmt.Sprintf("PINNED: only release %s is put in place.", Short(p.Pinned)))
	}
	for _, id := range slices.Sorted(maps.Keys(p.Promote)) {
		lines = append(lines, fmt.Sprintf("PROMOTED: release %s begins with wave %s.", Short(id), p.Waves[p.Promote[id]].Name))
	}
	return lines
}

func (p *Policy) explainWave(i int, w Wave) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", w.Name)
	switch {
	case i == len(p.Waves)-1 && i > 0:
		b.WriteString("all other hosts")
	case i == len(p.Waves)-1:
		b.WriteString("all hosts")
	case i == 0 && w.Hosts == 1:
		b.WriteString("the first host that asks")
	case i == 0:
		fmt.Fprintf(&b, "the first %d hosts that ask", w.Hosts)
	default:
		fmt.Fprintf(&b, "up to %d hosts in all", w.Hosts)
	}
	if len(w.Only) > 0 {
		fmt.Fprintf(&b, " of ring %s", strings.Join(w.Only, " or "))
	}
	fmt.Fprintf(&b, ", %d at a time; %s the release", w.Slots, number(w.MaxFailed, "failed host halts", "failed hosts halt"))
	if i < len(p.Waves)-1 {
		fmt.Fprintf(&b, "; when %d of them %s done, wave %s opens after %s", w.Hosts, map[bool]string{true: "is", false: "are"}[w.Hosts == 1], p.Waves[i+1].Name, w.Bake)
	}
	return b.String() + "."
}

// total says what a release costs in time and what a bad one costs in hosts.
func (p *Policy) total() string {
	var bake time.Duration
	for _, w := range p.Waves {
		bake += time.Duration(w.Bake)
	}
	first := p.Waves[0]
	worst := first.MaxFailed - 1 + first.Slots
	return fmt.Sprintf("A file that fails at once on every host fails on at most %s. A good one bakes for %s in all.", number(worst, "host", "hosts"), Duration(bake))
}

// number is n with the words for one or for many.
func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
