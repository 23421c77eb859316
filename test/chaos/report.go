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
	// Limited says that the kernel can have few numbers in a namespace.
	Limited bool
	// For is how long the storms lasted.
	For time.Duration
	// Violations are the rules that were broken, one sentence each.
	Violations []string
	// Servers is how many lived, Upgrades how many execs they came through.
	Servers, Upgrades int
	// Signals are SIGUSR1 that the service sent, and Counted those that servers say that they got.
	Signals, SignalsOfOthers, Counted int
	// Deaths are those by a signal or an exec. DeathsByOthers are those that another sender's signal led to,
	// and Judged those that the service's did.
	Deaths, DeathsByOthers, Judged int
	// Of these, Canaries died of a bad binary, Overtaken of one that came after the signal, Unseen of one that
	// came right before it, and Races of a signal right after another sender's.
	Canaries, Overtaken, Unseen, Races int
	// Instances is how often the service was started.
	Instances int
	Losses    losses
	// NumberReuse is how many processes had the same number, of that which most had.
	NumberReuse int
	// Churned processes were started, and ChurnFailed could not be.
	Churned, ChurnFailed int
	Jumps                int
	Installs             map[string]int
	Quiets               []quiet
	// Before and After are what the service held after the one quiet and the other.
	Before, After holdings
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
		{"signals that servers counted", fmt.Sprint(r.Counted)},
		{"other processes a second", fmt.Sprintf("%.0f", float64(r.Churned)/r.For.Seconds())},
		{"of them, could not be started", fmt.Sprint(r.ChurnFailed)},
		{"most processes with the same number", fmt.Sprint(r.NumberReuse)},
		{"clock jumps", fmt.Sprint(r.Jumps)},
	}
	for _, k := range kinds {
		rows = append(rows, [2]string{"installs: " + k.name, fmt.Sprint(r.Installs[k.name])})
	}
	rows = append(rows, r.Losses.rows(r.For)...)
	return append(rows, [][2]string{
		{"deaths by a signal or an exec", fmt.Sprint(r.Deaths)},
		{"of another sender's signal", fmt.Sprint(r.DeathsByOthers)},
		{"of the service's signal, and judged", fmt.Sprint(r.Judged)},
		{"judged: canaries of a bad binary", fmt.Sprint(r.Canaries)},
		{"judged: a bad binary came after the signal", fmt.Sprint(r.Overtaken)},
		{"judged: it came less than 50 ms before the signal", fmt.Sprint(r.Unseen)},
		{"judged: within 20 ms of another sender's signal", fmt.Sprint(r.Races)},
		{"first quiet", r.quiet(0)},
		{"second quiet", r.quiet(1)},
		{"descriptors, watches, goroutines, map entries", r.Before.String()},
		{"the same after the second storm", r.After.String()},
		{"broken rules", fmt.Sprint(len(r.Violations))},
	}...)
}

func (r result) quiet(n int) string {
	if n >= len(r.Quiets) {
		return "not reached"
	}
	return r.Quiets[n].String()
}

// longEnough are storms in which each kind of loss should happen: those of one arena in a run of 30 s.
const longEnough = 15 * time.Second

// rows say it where a fault that was meant to happen did not.
func (l losses) rows(storms time.Duration) (rows [][2]string) {
	for _, of := range []struct {
		name  string
		times int
	}{
		{"losses: processes that did not fit into the map", l.MapFull},
		{"losses: events that did not fit into the ring", l.RingFull},
		{"losses: overflows of the inotify queue", l.Overflows},
	} {
		text := fmt.Sprint(of.times)
		if of.times == 0 && storms >= longEnough {
			text = "0: this fault did not happen in this run"
		}
		rows = append(rows, [2]string{of.name, text})
	}
	return append(rows, [2]string{"losses: starts of the service that did not say", fmt.Sprint(l.Untold)})
}

func (r result) name() string {
	switch {
	case r.FewNumbers && r.Limited:
		return "a PID namespace with few numbers"
	case r.FewNumbers:
		return "a PID namespace whose numbers cannot be few before Linux 6.14"
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
