// SPDX-License-Identifier: MIT

// Command simulate plays releases on fleets of up to 100,000 hosts in virtual time, with the rule of the program itself,
// and writes the tables of docs/FLEET.md.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// faults are the rows of the first table.
var faults = []fault{
	{name: "good file"},
	{name: "dies at once on every host", atOnce: 1},
	{name: "dies at once on 3 % of the hosts", atOnce: 0.03},
	{name: "dies at once with one client (1 host in 10)", client: true},
	{name: "crashes later on 30 % of the hosts", later: 0.3},
	{name: "good file, engine lost for an hour", lost: true},
	{name: "good file, 5 % of the hosts vanish", vanish: 0.05},
}

// gates are its columns.
var gates = []struct {
	name string
	make func() gate
}{
	{"no gate", func() gate { return none{} }},
	{"semaphore of 50", func() gate { return &semaphore{slots: 50} }},
	{"waves", func() gate { return newWaves() }},
}

// results are those of one cell, one for each seed.
type results struct {
	fault
	gate   string
	hosts  int
	worlds []*world
}

func main() {
	hosts := flag.Int("hosts", 10_000, "how many hosts")
	seeds := flag.Int("seeds", 21, "how many seeds")
	largest := flag.Int("largest", 100_000, "the largest fleet of the second table")
	doc := flag.String("docs", "", "write the tables into this document")
	flag.Parse()
	begin := time.Now()
	text := faultTable(*hosts, *seeds) + "\n" + sizeTable(*largest)
	fmt.Print(text)
	fmt.Fprintf(os.Stderr, "%s\n", time.Since(begin).Round(time.Second))
	if *doc != "" {
		if err := replace(*doc, text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// cell plays one fault with one gate, a seed on each processor at a time.
func cell(f fault, make func() gate, name string, hosts, seeds int) results {
	r := results{fault: f, gate: name, hosts: hosts, worlds: slices.Repeat([]*world{nil}, seeds)}
	var wg sync.WaitGroup
	free := slices.Repeat([]int{0}, runtime.GOMAXPROCS(0))
	next := send(seeds)
	for range free {
		wg.Go(func() {
			for seed := range next {
				w := run(f, make(), hosts, uint64(seed))
				w.events, w.hosts, w.gone, w.tries, w.second = nil, nil, nil, nil, nil
				r.worlds[seed] = w
			}
		})
	}
	wg.Wait()
	return r
}

func send(n int) <-chan int {
	c := make(chan int, n)
	for i := range n {
		c <- i
	}
	close(c)
	return c
}

// middle and most are the median and the largest of a number.
func (r results) middle(of func(*world) int) int {
	all := r.sorted(of)
	return all[len(all)/2]
}

func (r results) most(of func(*world) int) int {
	all := r.sorted(of)
	return all[len(all)-1]
}

func (r results) sorted(of func(*world) int) []int {
	var all []int
	for _, w := range r.worlds {
		all = append(all, of(w))
	}
	slices.Sort(all)
	return all
}

func harmed(w *world) int   { return w.harmed }
func requests(w *world) int { return w.requests }
func peak(w *world) int     { return w.peak }
func last(w *world) int     { return int(w.last / time.Second) }

// left is how many hosts got no turn, of those that were there in the end.
func (r results) left() int {
	return r.middle(func(w *world) int { return int(float64(r.hosts)*(1-r.vanish)) - w.finished })
}

// word is what the table says of a cell.
func (r results) word() string {
	if r.atOnce > 0 || r.later > 0 || r.client {
		text := fmt.Sprintf("**%s**", number(r.middle(harmed)))
		if most := r.most(harmed); most != r.middle(harmed) {
			text += fmt.Sprintf(" (worst %s)", number(most))
		}
		return text + " harmed"
	}
	text := "all after " + span(r.middle(last))
	if r.left() > r.hosts/50 {
		text = number(r.left()) + " have no turn"
	}
	if n := r.middle(requests); n > 0 {
		text += fmt.Sprintf("; %s requests, peak %s/s", number(n), number(r.middle(peak)))
	}
	return text
}

func faultTable(hosts, seeds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s hosts, %d seeds: the median, and the worst seed where it differs.\n\n", number(hosts), seeds)
	b.WriteString("| |")
	for _, g := range gates {
		fmt.Fprintf(&b, " %s |", g.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(gates)) + "\n")
	for _, f := range faults {
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, g := range gates {
			r := cell(f, g.make, g.name, hosts, seeds)
			fmt.Fprintf(&b, " %s |", r.word())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sizeTable says how the load grows with the fleet.
func sizeTable(largest int) string {
	var b strings.Builder
	b.WriteString("| hosts | good file: all after | requests | for each host | peak | largest record |\n|---|---|---|---|---|---|\n")
	for _, hosts := range []int{100, 1000, 10_000, 100_000} {
		if hosts > largest {
			break
		}
		var g *waves
		r := cell(fault{}, func() gate { g = newWaves(); return g }, "waves", hosts, 1)
		after := span(r.middle(last))
		if r.left() > 0 {
			after = fmt.Sprintf("%s are left after 6 h", number(r.left()))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %s/s | %.1f KB |\n", number(hosts), after, number(r.middle(requests)),
			r.middle(requests)/hosts, number(r.middle(peak)), float64(g.largest)/1000)
	}
	return b.String()
}

// number has commas.
func number(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func span(seconds int) string {
	d := time.Duration(seconds) * time.Second
	if d < time.Hour {
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", int(d/time.Hour), int(d%time.Hour/time.Minute))
}

const (
	beginMark = "<!-- simulate: begin -->\n"
	endMark   = "<!-- simulate: end -->\n"
)

// replace writes the tables between the marks of a document.
func replace(path, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(data, []byte(beginMark))
	_, after, foundEnd := bytes.Cut(rest, []byte(endMark))
	if !found || !foundEnd {
		return fmt.Errorf("%s has no marks for the tables", path)
	}
	all := string(before) + beginMark + text + endMark + string(after)
	return os.WriteFile(path, []byte(all), 0o644)
}
