// SPDX-License-Identifier: MIT

//go:build linux

// Command sessions measures what an upgrade costs agents: real rag-rat servers of published versions, whose clients
// call without end, are upgraded again and again, and every call is counted. It needs root, and cargo to build the
// versions once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/ragrat/published"
)

// command is what the command line says.
type command struct {
	rows         []row
	versions     []string
	serviceFlags []string
	upgrades     int
	program      string
	docs         string
	cache        published.Cache
	// build says that what is not in the cache is built.
	build bool
	kept  *kept
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
	list := f.Bool("list", false, "show the rows, those of the document with a star, and end")
	run := f.String("run", "", "a regular expression: the rows whose whole name it matches; those of the document without")
	versions := f.String("versions", "0.21.1 0.24.1", "two versions with indexes of different schemas, the older one first")
	serviceFlags := f.String("service-flags", "", `more flags of the service, as in "--hold 1s"`)
	results := f.String("results", "", "a file that keeps the figures; what stands in it is not measured again")
	dir := f.String("dir", "", "a folder with VERSION/bin/rag-rat for each version; nothing is built then")
	f.IntVar(&c.upgrades, "upgrades", 200, "how many upgrades a row has at least")
	f.StringVar(&c.program, "program", "../bin/ebpf-upgrader", "the program under test")
	f.StringVar(&c.docs, "docs", "", "the document whose table is written once all of its rows were measured")
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
		show()
		return nil, flag.ErrHelp
	}
	var err error
	if c.rows, err = choose(*run); err != nil {
		return nil, err
	}
	c.cache, c.build = published.Cache{Dir: *dir, Log: os.Stderr}, *dir == ""
	if c.build {
		if c.cache.Dir, err = published.DefaultDir(); err != nil {
			return nil, err
		}
	}
	c.kept, err = openKept(*results)
	return c, err
}

func show() {
	for _, r := range rows() {
		mark := " "
		if r.documented() {
			mark = "*"
		}
		fmt.Println(mark, r)
	}
}

func (c *command) run(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("needs root, for servers of a user of their own")
	}
	var binaries [2][]byte
	for i, version := range c.versions {
		path, err := c.binary(ctx, version)
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

func (c *command) binary(ctx context.Context, version string) (string, error) {
	if c.build {
		return c.cache.Ensure(ctx, version)
	}
	return c.cache.Binary(version)
}

// like is a row's figures before it is measured. What lands is the newer version, on itself or on the older.
func (c *command) like(r row) *figures {
	f := &figures{Row: r.String(), From: c.versions[1], To: c.versions[1], ServiceFlags: c.serviceFlags, Date: outcome.Today()}
	if r.newSchema {
		f.From = c.versions[0]
	}
	if r.way == ownTrigger {
		f.ServiceFlags = nil
	}
	return f
}

// measure measures a row, unless its figures are there.
func (c *command) measure(ctx context.Context, r row, older, newer []byte) (*figures, error) {
	f := c.like(r)
	if known := c.kept.of(f); known != nil {
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
	return f, c.kept.add(f)
}

// documented are the figures that were measured as this command does, of all rows.
func (c *command) documented() []*figures {
	var all []*figures
	for _, r := range rows() {
		if f := c.kept.of(c.like(r)); f != nil {
			all = append(all, f)
		}
	}
	return all
}

// name is how this command was called.
func (c *command) name() string {
	name := "make bench-sessions"
	if len(c.serviceFlags) > 0 {
		name += fmt.Sprintf(" SERVICE_FLAGS=%q", strings.Join(c.serviceFlags, " "))
	}
	return name + fmt.Sprintf(" UPGRADES=%d", c.upgrades)
}
