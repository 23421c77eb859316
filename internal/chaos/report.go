// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// result is what one arena came to.
type result struct {
	FewNumbers bool
	// Violations are the rules that were broken, one sentence each.
	Violations []string
	// Servers is how many lived, Upgrades how many execs they came through.
	Servers, Upgrades int
	// Signals are SIGUSR1 that the service sent.
	Signals, SignalsOfOthers int
	// Canaries died of a bad binary, Overtaken of one that came after the look, and DeathsByOthers are
	// those whose last signal was not the service's.
	Canaries, Overtaken, DeathsByOthers int
	// Races died of a signal that came right after another sender's.
	Races int
	// Instances is how often the service was started.
	Instances int
	// NumberReuse is how many processes had the same number, of that which most had.
	NumberReuse int
	Jumps       int
	Installs    map[string]int
	// Quiets are the times until everybody had reached what is installed.
	Quiets []time.Duration
	// Before and After are what the service held after the one quiet and the other.
	Before, After holdings
}

func (r *result) reached(after time.Duration) {
	r.Quiets = append(r.Quiets, after.Round(time.Millisecond))
}

func (r result) broken() bool { return len(r.Violations) > 0 }

// rows are the figures with their names.
func (r result) rows() [][2]string {
	rows := [][2]string{
		{"servers that lived", fmt.Sprint(r.Servers)},
		{"upgrades that they came through", fmt.Sprint(r.Upgrades)},
		{"starts of the service", fmt.Sprint(r.Instances)},
		{"signals of the service", fmt.Sprint(r.Signals)},
		{"signals of other senders", fmt.Sprint(r.SignalsOfOthers)},
		{"most processes with the same number", fmt.Sprint(r.NumberReuse)},
		{"clock jumps", fmt.Sprint(r.Jumps)},
	}
	for _, k := range kinds {
		rows = append(rows, [2]string{"installs: " + k.name, fmt.Sprint(r.Installs[k.name])})
	}
	return append(rows, [][2]string{
		{"deaths: canaries of a bad binary", fmt.Sprint(r.Canaries)},
		{"deaths: a bad binary came after the look", fmt.Sprint(r.Overtaken)},
		{"deaths: of another sender's signal", fmt.Sprint(r.DeathsByOthers)},
		{"deaths: within 20 ms of another sender's signal", fmt.Sprint(r.Races)},
		{"quiet after", fmt.Sprint(r.Quiets)},
		{"descriptors, watches, goroutines, map entries", r.Before.String()},
		{"the same after the second storm", r.After.String()},
		{"broken rules", fmt.Sprint(len(r.Violations))},
	}...)
}

func (h holdings) String() string {
	return fmt.Sprintf("%d, %d, %d, %d", h.Descriptors, h.Watches, h.Goroutines, h.Entries)
}

func (r result) name() string {
	if r.FewNumbers {
		return "a PID namespace with few numbers"
	}
	return "the host's PID namespace"
}

func (r result) print(w io.Writer) {
	fmt.Fprintf(w, "\nIn %s:\n", r.name())
	for _, row := range r.rows() {
		fmt.Fprintf(w, "  %-54s %s\n", row[0], row[1])
	}
	for _, v := range r.Violations {
		fmt.Fprintln(w, "  BROKEN:", v)
	}
}

// document writes the figures into the document, unless those of a longer run stand there. They lie between
// two lines, of which the first names the length of that run.
func document(path string, c config, results []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(text), opening)
	length, rest, opened := strings.Cut(rest, closing)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !opened || !closed {
		return fmt.Errorf("%s: no lines %q and %q", path, opening+"3m0s"+closing, end)
	}
	before, err := time.ParseDuration(length)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if c.For < before {
		fmt.Printf("\n%s has a longer run, of %s.\n", path, before)
		return nil
	}
	var figures bytes.Buffer
	fmt.Fprintf(&figures, "\n%s, Linux %s, %d cores, %d servers, %d processes a second, storms of %s in all:\n\n    %s\n\n",
		time.Now().UTC().Format(time.DateOnly), kernel(), runtime.NumCPU(), c.Servers, c.Churn, c.For,
		fmt.Sprintf("make chaos FOR=%s SEED=%d", c.For, c.Seed))
	fmt.Fprintf(&figures, "| | %s | %s |\n|---|---|---|\n", results[0].name(), results[1].name())
	for n, row := range results[0].rows() {
		fmt.Fprintf(&figures, "| %s | %s | %s |\n", row[0], row[1], results[1].rows()[n][1])
	}
	return os.WriteFile(path, []byte(head+opening+c.For.String()+closing+figures.String()+"\n"+end+tail), 0o644)
}

// The lines of the document around the figures.
const (
	opening = "<!-- the longest run: "
	closing = " -->\n"
	end     = "<!-- its end -->"
)

func kernel() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return release
}
