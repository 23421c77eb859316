// SPDX-License-Identifier: MIT

//go:build linux

// Command bench measures what the documents claim, side by side with what people use today, and writes
// the results as JSON and CSV, the document and the charts. As root, from the folder bench: go run .
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options say how much is measured.
type options struct {
	rounds int
	// most is the largest number of idle processes.
	most int
	only string
	out  string
	// withoutTools leaves out what people use today.
	withoutTools bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "how often each is measured; the medians count")
	flag.IntVar(&o.most, "most", 50_000, "the largest number of idle processes")
	flag.StringVar(&o.only, "only", "", "sections, separated by commas: find, rollout, start, cost; all without")
	flag.StringVar(&o.out, "out", "results", "the folder for the results; docs/BENCHMARKS.md is written beside it if it is the default")
	flag.BoolVar(&o.withoutTools, "without-tools", false, "leave out pgrep, lsof, needrestart, forkstat and execsnoop, and say so in the document")
	flag.Parse()
	// Whatever ends it, what was started is to end with it, and the kernel's limit to be put back.
	ctx, stop := signal.NotifyContext(context.Background(), heeded(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// heeded are those that whoever started this did not have ignored, as nohup does: asking for one would undo that.
func heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

func (o options) run(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: the tracker that it measures is the real one")
	}
	if o.rounds < 1 {
		return fmt.Errorf("-rounds %d: want at least 1", o.rounds)
	}
	if err := o.checkTools(); err != nil {
		return err
	}
	results, err := load(o.out)
	if err != nil {
		return err
	}
	for _, section := range []struct {
		name    string
		measure func(context.Context, options) ([]Measure, error)
	}{{"find", find}, {"rollout", rollouts}, {"start", starts}, {"cost", costs}} {
		if !o.measures(section.name) {
			continue
		}
		measures, err := section.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		results.replace(section.name, measures, o.withoutTools)
		if err := results.write(o.out); err != nil {
			return err
		}
	}
	return results.publish(o.out)
}

// measures reports whether a section is among those that are measured.
func (o options) measures(section string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), section)
}

// pause waits, unless it is all over before.
func pause(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}
