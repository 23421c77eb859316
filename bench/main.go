// SPDX-License-Identifier: MIT

//go:build linux

// Command bench measures what the documents claim, side by side with the usual tools. It writes the results as JSON
// and CSV, the document and the charts. Run it as root in the folder bench: go run .
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
)

// options are the settings of the command line.
type options struct {
	rounds int
	// most is the largest number of idle processes.
	most int
	only string
	out  string
	// large is the number of processes of the large host.
	large int
	// withoutTools leaves out the tools that the program is compared with.
	withoutTools bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "number of rounds; the results are their medians")
	flag.IntVar(&o.most, "most", 50_000, "largest `number` of idle processes")
	flag.StringVar(&o.only, "only", "", "`sections` to measure, separated by commas: find, rollout, start, cost, scale (default all but scale)")
	flag.IntVar(&o.large, "large", largeHost, "`number` of processes of the large host in the section scale; 100,000 take 10 GiB")
	flag.StringVar(&o.out, "out", "results", "`folder` of the results; only the default writes docs/BENCHMARKS.md and docs/PROOF.md, too")
	flag.BoolVar(&o.withoutTools, "without-tools", false, "leave out pgrep, lsof, needrestart, forkstat and execsnoop, and note that in the document")
	flag.Parse()
	// Every way to end must end the started processes and restore the kernel's limit.
	ctx, stop := signal.NotifyContext(context.Background(), heeded(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// heeded returns the signals that the parent does not have ignored, as nohup does. Notify would undo that.
func heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

func (o options) run(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root to load the tracker's programs")
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
	}{{"find", find}, {"rollout", rollouts}, {"start", starts}, {"cost", costs}, {"scale", scales}} {
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
	return o.only == "" && section != "scale" || slices.Contains(strings.Split(o.only, ","), section)
}
