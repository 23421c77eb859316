// SPDX-License-Identifier: MIT

// Command kernels boots Debian's kernels in an emulated machine and runs the tests in each. A run of all kernels
// writes the results to docs/KERNELS.md and docs/COMPATIBILITY.md. A run of some compares them with these documents. It needs
// qemu-system-x86_64, apt-get and dpkg-deb, a network for the first run, and no privileges.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// options are the settings of the command line.
type options struct {
	cache, only, docs, readme, mode string
	image                           string
	within                          time.Duration
	real                            bool
	triggers                        int
}

func main() {
	var o options
	cache, _ := os.UserCacheDir()
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "ebpf-upgrader-kernels"), "`folder` for downloads")
	flag.StringVar(&o.only, "only", "", "`names` of kernels, separated by commas (default all)")
	flag.StringVar(&o.image, "image", "", "fetch the kernel of this `name`, print the paths of its image and of a static busybox, and boot nothing")
	flag.StringVar(&o.docs, "docs", "", "`document` of the tables: a run of all kernels writes it, a run with -only compares it; with -servers it is written")
	flag.StringVar(&o.readme, "readme", "", "`document` of the short table, likewise")
	flag.DurationVar(&o.within, "within", 0, "limit of the time of all kernels (default none)")
	flag.BoolVar(&o.real, "servers", false, "upgrade real rag-rat servers instead of running the tests")
	flag.StringVar(&o.mode, "mode", "gate", "with -servers: `mode` of the upgrade, as in test/ragrat")
	flag.IntVar(&o.triggers, "triggers", 0, "with -servers: measure what the servers' own trigger costs in so many `worktrees` instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	all, err := kernels()
	if err != nil {
		return err
	}
	if o.image != "" {
		return o.printImage(ctx, all)
	}
	chosen, err := choose(all, o.only)
	if err != nil {
		return err
	}
	if o.real {
		return o.playServers(ctx, chosen)
	}
	m, err := newMachine(ctx, o.cache, chosen, buildTests)
	if err != nil {
		return err
	}
	defer m.close()
	var rows []row
	for _, k := range chosen {
		r := m.testRepeatedly(ctx, k)
		if ctx.Err() != nil {
			return fmt.Errorf("test %s: %w", k.name, ctx.Err())
		}
		fmt.Println(r.line())
		rows = append(rows, r)
	}
	fmt.Println(times(rows))
	// Errors of one line come last, below the long ones.
	return errors.Join(failures(rows), inTime(rows, o.within), o.record(rows))
}

// record writes the documents after a run of all kernels, even with failures. After a run of some it compares them.
func (o options) record(rows []row) error {
	seen := make([]cells, 0, len(rows))
	for _, r := range rows {
		if o.only == "" || r.failure() == nil { // a failed kernel differs for that reason
			seen = append(seen, r.cells())
		}
	}
	if o.only != "" {
		return errors.Join(compareDocument(o.docs, seen), compareReadme(o.readme, seen))
	}
	return errors.Join(writeDocument(o.docs, time.Now(), seen), writeReadme(o.readme, seen))
}

func failures(rows []row) error {
	var errs []error
	for _, r := range rows {
		errs = append(errs, r.failure())
	}
	return errors.Join(errs...)
}

func sum(rows []row) (all time.Duration) {
	for _, r := range rows {
		all += r.took
	}
	return all.Round(time.Second)
}

// times lists the time of each kernel, with all its boots, and the sum.
func times(rows []row) string {
	var each []string
	for _, r := range rows {
		each = append(each, fmt.Sprintf("%s %s", r.name, r.took.Round(time.Second)))
	}
	return fmt.Sprintf("took: %s; %s in all", strings.Join(each, ", "), sum(rows))
}

// inTime compares the time of all kernels with a limit; 0 is no limit.
func inTime(rows []row, within time.Duration) error {
	if within == 0 || sum(rows) <= within {
		return nil
	}
	return fmt.Errorf("the kernels took %s, more than %s (-within)", sum(rows), within)
}
