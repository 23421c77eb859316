// SPDX-License-Identifier: MIT

//go:build linux

// Command ragrat plays upgrades of real rag-rat servers of published versions, which have real MCP clients, and compares
// their cost with limits. It needs root, and cargo to build the versions once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/ragrat/published"
	"ebpf-upgrader/test/report"
)

// command holds the settings of the command line.
type command struct {
	pace
	cache         published.Cache
	versions      []string
	modes         []outcome.Mode
	scenarios     []scenario
	program, docs string
	results       *report.Store[outcome.Result]
	rounds, tries int
	// load describes the host on which the servers' own trigger is measured, if it has worktrees.
	load  triggerLoad
	build bool
	json  bool
	// complete: nothing is left out, so that the document may be written.
	complete bool
}

// The defaults.
const (
	allModes    = "alone hurry gate"
	allVersions = "0.3.2 0.21.1 0.24.1"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == refusing {
		fmt.Fprintln(os.Stderr, "ragrat:", startRefusing(os.Args[2:]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = c.run(ctx)
	}
	if errors.Is(err, errSkipped) && os.Getenv("REQUIRE_RAG_RAT") == "" {
		fmt.Println("ragrat:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ragrat:", err)
		os.Exit(1)
	}
}

// errSkipped means that this machine cannot run the servers.
var errSkipped = errors.New("not run")

// rawFlags are flags that have to be checked or converted.
type rawFlags struct {
	list                      bool
	results                   string
	run, modes, versions, dir string
	slower                    int
}

func parse(args []string) (*command, error) {
	c, raw := &command{}, rawFlags{}
	f := flag.NewFlagSet("ragrat", flag.ContinueOnError)
	f.BoolVar(&raw.list, "list", false, "list the scenarios and exit")
	f.StringVar(&raw.run, "run", "", "`regexp` that matches the whole names of the scenarios to play (default all)")
	f.StringVar(&raw.modes, "mode", allModes, "`modes` to play: what runs beside the servers' own trigger")
	f.StringVar(&raw.versions, "versions", allVersions, "`versions` of rag-rat, from old to new; each is installed over the one before it")
	f.StringVar(&raw.dir, "dir", "", "`folder` with VERSION/bin/rag-rat for each version; nothing is built")
	f.StringVar(&c.program, "program", "bin/ebpf-upgrader", "`path` of the program under test")
	f.StringVar(&c.docs, "docs", "", "`document` that gets the tables after a run of all scenarios")
	f.StringVar(&raw.results, "results", "", "`file` that stores the results; a scenario with results in it is not played again")
	f.IntVar(&c.rounds, "rounds", 1, "number of rounds of each scenario")
	f.IntVar(&c.tries, "tries", 1, "number of tries of a scenario without the gate before a broken limit counts")
	f.IntVar(&raw.slower, "slower", 1, "factor by which the machine is slower than usual")
	f.IntVar(&c.load.worktrees, "triggers", 0, "measure what the servers' own trigger costs in so many `worktrees`, with the first version, and exit")
	f.IntVar(&c.load.processes, "processes", 0, "with -triggers: number of additional idle processes")
	f.BoolVar(&c.load.own, "own", false, "with -triggers: the idle processes belong to the servers' user, not to root")
	f.BoolVar(&c.load.apart, "apart", false, "with -triggers: each worktree has its own data directory")
	f.StringVar(&c.load.flags, "service", "", "with -triggers: `flags` of the service, as in '--settle 500ms'")
	f.BoolVar(&c.build, "build", false, "build the versions and exit")
	f.BoolVar(&c.json, "json", false, "write the results as JSON, one in a line")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: want flags only", f.Arg(0))
	}
	return c, c.apply(raw)
}
