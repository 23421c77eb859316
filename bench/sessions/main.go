// SPDX-License-Identifier: MIT

//go:build linux

// Command sessions measures what an upgrade costs agents. The clients of real rag-rat servers of published versions call
// without end while the servers are upgraded again and again, and every call is counted. It needs root, and cargo to build
// the versions once.
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

	"ebpf-upgrader/test/ragrat/published"
	"ebpf-upgrader/test/report"
)

// command holds the settings of the command line.
type command struct {
	rows         []row
	versions     []string
	serviceFlags []string
	upgrades     int
	program      string
	docs         string
	cache        published.Cache
	results      *report.Store[*figures]
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessions:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*command, error) {
	c := &command{}
	f := flag.NewFlagSet("sessions", flag.ContinueOnError)
	list := f.Bool("list", false, "list the rows, those of the document with a star, and exit")
	run := f.String("run", "", "`regexp` that matches the whole names of the rows to measure (default those of the document)")
	versions := f.String("versions", "0.21.1 0.24.1", "two `versions` with different schemas of the index, the older one first")
	serviceFlags := f.String("service-flags", "", "additional `flags` of the service, as in \"--hold 1s\"")
	results := f.String("results", "", "`file` that stores the figures; a row with figures in it is not measured again")
	dir := f.String("dir", "", "`folder` with VERSION/bin/rag-rat for each version; nothing is built")
	f.IntVar(&c.upgrades, "upgrades", 200, "minimum number of upgrades of a row")
	f.StringVar(&c.program, "program", "../bin/ebpf-upgrader", "`path` of the program under test")
	f.StringVar(&c.docs, "docs", "", "`document` that gets the table once all of its rows are measured")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c.versions, c.serviceFlags = strings.Fields(*versions), strings.Fields(*serviceFlags)
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("argument %q: want flags only", f.Arg(0))
	case len(c.versions) != 2:
		return nil, fmt.Errorf(`-versions %q: want two, as in "0.21.1 0.24.1"`, *versions)
	case c.upgrades < 1:
		return nil, fmt.Errorf("-upgrades %d: want 1 or more", c.upgrades)
	}
	if *list {
		for _, r := range rows() {
			mark := " "
			if r.documented() {
				mark = "*"
			}
			fmt.Println(mark, r)
		}
		return nil, flag.ErrHelp
	}
	var err error
	if c.rows, err = choose(*run); err != nil {
		return nil, err
	}
	if c.cache, err = published.NewCache(*dir, os.Stderr); err != nil {
		return nil, err
	}
	c.results, err = report.OpenStore[*figures](*results)
	return c, err
}

func (c *command) run(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("needs root, because the servers run as another user")
	}
	var binaries [2][]byte
	for i, version := range c.versions {
		path, err := c.cache.Path(ctx, version)
		if err != nil {
			return err
		}
		if binaries[i], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	var limits []error
	for _, r := range c.rows {
		f, err := c.measure(ctx, r, binaries[0], binaries[1])
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		for _, line := range broken(f) {
			limits = append(limits, errors.New(line))
		}
	}
	return errors.Join(append(limits, write(c.docs, c.name(), c.documented()))...)
}

// unmeasured returns the figures of a row before it is measured. The newer version is installed over itself or over the
// older one.
func (c *command) unmeasured(r row) *figures {
	f := &figures{Row: r.String(), From: c.versions[1], To: c.versions[1], ServiceFlags: c.serviceFlags, Date: report.Today()}
	if r.newSchema {
		f.From = c.versions[0]
	}
	if r.upgrader == ownTrigger {
		f.ServiceFlags = nil
	}
	return f
}

// stored returns the figures of a row with the same versions and flags of the service; nil if it has to be measured.
func (c *command) stored(like *figures) *figures {
	for _, f := range c.results.Results {
		if f.Row == like.Row && f.From == like.From && f.To == like.To && slices.Equal(f.ServiceFlags, like.ServiceFlags) {
			return f
		}
	}
	return nil
}

// measure measures a row unless its figures are stored.
func (c *command) measure(ctx context.Context, r row, older, newer []byte) (*figures, error) {
	f := c.unmeasured(r)
	if known := c.stored(f); known != nil {
		fmt.Println(known)
		return known, nil
	}
	s := setting{program: c.program, serviceFlags: c.serviceFlags, from: newer, to: newer}
	if r.newSchema {
		s.from = older
	}
	begin := time.Now()
	if err := measure(ctx, r, s, c.upgrades, f); err != nil {
		return nil, err
	}
	fmt.Printf("%v; took %s\n", f, time.Since(begin).Round(time.Second))
	return f, c.results.Add(f)
}

// documented returns the figures of all rows that were measured with the settings of this command.
func (c *command) documented() []*figures {
	var all []*figures
	for _, r := range rows() {
		if f := c.stored(c.unmeasured(r)); f != nil {
			all = append(all, f)
		}
	}
	return all
}

// name returns the make command with the settings of this run.
func (c *command) name() string {
	name := "make bench-sessions"
	if len(c.serviceFlags) > 0 {
		name += fmt.Sprintf(" SERVICE_FLAGS=%q", strings.Join(c.serviceFlags, " "))
	}
	return name + fmt.Sprintf(" UPGRADES=%d", c.upgrades)
}
