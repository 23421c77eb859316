// SPDX-License-Identifier: MIT

// Command kernels boots kernels of Debian in an emulated machine and runs the tests in each. A run of all
// kernels writes what came of it to docs/KERNELS.md and README.md; a run of some holds what it saw against
// what stands there. It needs qemu-system-x86_64, apt-get and dpkg-deb, a network for the first run, and no
// rights.
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

// options are what the command line says.
type options struct {
	cache, only, docs, readme, mode string
	within                          time.Duration
	real                            bool
	triggers                        int
}

func main() {
	var o options
	cache, _ := os.UserCacheDir()
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "ebpf-upgrader-kernels"), "the folder for what is downloaded")
	flag.StringVar(&o.only, "only", "", "names of kernels, separated by commas; all without")
	flag.StringVar(&o.docs, "docs", "", "the document of the tables: a run of all kernels writes it, with -only it is compared; with -servers it is written")
	flag.StringVar(&o.readme, "readme", "", "the document of the short table, likewise")
	flag.DurationVar(&o.within, "within", 0, "how long the kernels may take in all; as long as they like without")
	flag.BoolVar(&o.real, "servers", false, "have real rag-rat servers upgraded instead of running the tests")
	flag.StringVar(&o.mode, "mode", "gate", "with -servers: what stands beside their own trigger, as in test/ragrat")
	flag.IntVar(&o.triggers, "triggers", 0, "with -servers: measure what the servers' own trigger costs in so many worktrees instead")
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
		r := m.persist(ctx, k)
		if ctx.Err() != nil {
			return fmt.Errorf("test %s: %w", k.name, ctx.Err())
		}
		fmt.Println(r.line())
		rows = append(rows, r)
	}
	fmt.Println(times(rows))
	// What is said in one line stands last, below what failed at length.
	return errors.Join(failures(rows), inTime(rows, o.within), o.record(rows))
}

// record writes the documents after a run of all kernels, whatever came of it, and compares them else.
func (o options) record(rows []row) error {
	seen := make([]cells, 0, len(rows))
	for _, r := range rows {
		if o.only == "" || r.failure() == nil { // one that failed differs for that reason
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

// times says how long each kernel took, a second boot included, and all of them.
func times(rows []row) string {
	var each []string
	for _, r := range rows {
		each = append(each, fmt.Sprintf("%s %s", r.name, r.took.Round(time.Second)))
	}
	return fmt.Sprintf("took: %s; %s in all", strings.Join(each, ", "), sum(rows))
}

// inTime holds what the kernels took against what they may; 0 is no bound.
func inTime(rows []row, within time.Duration) error {
	if within == 0 || sum(rows) <= within {
		return nil
	}
	return fmt.Errorf("the kernels took %s, and may take %s (-within)", sum(rows), within)
}
