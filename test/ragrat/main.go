// SPDX-License-Identifier: MIT

//go:build linux

// Command ragrat plays upgrades of real rag-rat servers, of published versions, with real agents' clients, and
// holds what they cost against limits. It needs root, and cargo to build the versions once.
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
)

// command is what the command line says.
type command struct {
	pace
	cache         published.Cache
	versions      []string
	modes         []outcome.Mode
	scenarios     []scenario
	program, docs string
	kept          *kept
	rounds, tries int
	// crowd is the host on which triggers are measured, if there are worktrees.
	crowd           crowd
	build, prebuilt bool
	json            bool
	// whole says that nothing is left out, so that the document may be written.
	whole bool
}

// What is chosen where nothing else is.
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

// errSkipped means that there are no servers to test with.
var errSkipped = errors.New("not run")

// given are the flags that must be looked at first.
type given struct {
	list                      bool
	results                   string
	run, modes, versions, dir string
	slower                    int
}

func parse(args []string) (*command, error) {
	c, g := &command{}, given{}
	f := flag.NewFlagSet("ragrat", flag.ContinueOnError)
	f.BoolVar(&g.list, "list", false, "show the scenarios, and end")
	f.StringVar(&g.run, "run", "", "a regular expression: the scenarios whose whole name it matches; all without")
	f.StringVar(&g.modes, "mode", allModes, "what stands beside the servers' own trigger")
	f.StringVar(&g.versions, "versions", allVersions, "the versions, from old to new; each is installed over the one before it")
	f.StringVar(&g.dir, "dir", "", "a folder with VERSION/bin/rag-rat for each version; nothing is built then")
	f.StringVar(&c.program, "program", "bin/ebpf-upgrader", "the program under test")
	f.StringVar(&c.docs, "docs", "", "the document whose tables a run of all scenarios writes")
	f.StringVar(&g.results, "results", "", "a file that keeps the results; what stands in it is not played again")
	f.IntVar(&c.rounds, "rounds", 1, "how often each scenario is played")
	f.IntVar(&c.tries, "tries", 1, "how often a scenario is tried without the gate before a broken limit counts")
	f.IntVar(&g.slower, "slower", 1, "how many times as slow as usual the machine is")
	f.IntVar(&c.crowd.worktrees, "triggers", 0, "measure what the servers' own trigger costs in so many worktrees, with the first version, and end")
	f.IntVar(&c.crowd.processes, "processes", 0, "with -triggers: how many idle processes there are besides")
	f.BoolVar(&c.crowd.own, "own", false, "with -triggers: they belong to the servers' user, not to root")
	f.BoolVar(&c.crowd.apart, "apart", false, "with -triggers: each worktree has a data directory of its own")
	f.StringVar(&c.crowd.flags, "service", "", "with -triggers: flags of the service, as in '--settle 500ms'")
	f.BoolVar(&c.build, "build", false, "build the versions, and end")
	f.BoolVar(&c.json, "json", false, "write the results as JSON, one in a line")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: want flags only", f.Arg(0))
	}
	return c, c.take(g)
}
