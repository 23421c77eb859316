// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"regexp"
	"strings"

	"ebpf-upgrader/test/ragrat/agents"
)

// way is what makes the servers upgrade.
type way string

const (
	// ownTrigger is the servers' own, without a service.
	ownTrigger way = "own-trigger"
	// service is the service whose servers have no trigger of their own: what a closed gate makes of them.
	service way = "service"
	// hurry is the service beside the servers' own trigger.
	hurry way = "service-in-hurry"
)

// row is one combination of what the figures depend on.
type row struct {
	rhythm rhythm
	// sockets: stdin and stdout are socket pairs, not pipes.
	sockets bool
	// ownIndex: each repository has its index, not the user one.
	ownIndex bool
	// newSchema: the version that lands migrates the index.
	newSchema bool
	way       way
}

func (r row) String() string {
	stdin, index, schema := "pipe", "one-index", "same-schema"
	if r.sockets {
		stdin = "socket"
	}
	if r.ownIndex {
		index = "own-index"
	}
	if r.newSchema {
		schema = "new-schema"
	}
	return strings.Join([]string{string(r.rhythm), stdin, index, schema, string(r.way)}, "/")
}

// rows are all combinations.
func rows() []row {
	var all []row
	both := []bool{false, true}
	for _, rhythm := range rhythms() {
		for _, newSchema := range both {
			for _, ownIndex := range both {
				for _, sockets := range both {
					for _, way := range []way{ownTrigger, service, hurry} {
						all = append(all, row{rhythm, sockets, ownIndex, newSchema, way})
					}
				}
			}
		}
	}
	return all
}

// documented says that the document's table has the row: every rhythm as most users have it, and for an agent's
// rhythms what differs from that in one thing.
func (r row) documented() bool {
	differences := 0
	for _, differs := range []bool{r.sockets, r.ownIndex, r.newSchema} {
		if differs {
			differences++
		}
	}
	return differences == 0 || differences == 1 && (r.rhythm == bursts || r.rhythm == every)
}

// choose takes the rows whose whole name a pattern matches, those of the document for "".
func choose(pattern string) ([]row, error) {
	match, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("-run %q: %w", pattern, err)
	}
	var chosen []row
	for _, r := range rows() {
		if pattern == "" && r.documented() || pattern != "" && match.MatchString(r.String()) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-run %q: no row has that name, -list shows them", pattern)
	}
	return chosen, nil
}

// sessions is how many there are at a time. Those that are mostly quiet leave the processors room for more.
func (r row) sessions() int {
	switch {
	case r.newSchema:
		return 8
	case r.rhythm == hardly || r.rhythm == longCall:
		return 20
	}
	return 10
}

// worktrees is how many repositories the sessions are in. A long call holds up all sessions of its repository.
func (r row) worktrees() int {
	if r.rhythm == longCall {
		return r.sessions()
	}
	return r.sessions() / 2
}

func (r row) stdio() agents.Stdio {
	if r.sockets {
		return agents.SocketPairs
	}
	return agents.Pipes
}

func (r row) index() agents.Index {
	if r.ownIndex {
		return agents.OwnIndex
	}
	return agents.UsersIndex
}

// environment is what the servers have in theirs besides the variable.
func (r row) environment() []string {
	if r.way == service {
		return []string{"RAG_RAT_NO_WATCH=1"}
	}
	return nil
}

// flags are the service's. Where it stands for one with the gate it has that one's times.
func (r row) flags() []string {
	if r.way == service {
		return []string{"--gate", "off", "--settle", "200ms", "--group-hold", "300ms", "--hold", "2s", "--quiet-within", "5s"}
	}
	return []string{"--gate", "off"}
}
