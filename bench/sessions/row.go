// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"strings"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/report"
)

// upgrader says what upgrades the servers.
type upgrader string

const (
	// ownTrigger is the servers' own trigger without a service.
	ownTrigger upgrader = "own-trigger"
	// service is the service with servers that have no trigger of their own, as behind a closed gate.
	service upgrader = "service"
	// hurry is the service beside the servers' own trigger.
	hurry upgrader = "service-in-hurry"
)

// row is one combination of the conditions on which the figures depend.
type row struct {
	rhythm rhythm
	// sockets: stdin and stdout of the servers are socket pairs, not pipes.
	sockets bool
	// ownIndex: each repository has an index. Otherwise the user has one.
	ownIndex bool
	// newSchema: the installed version migrates the index.
	newSchema bool
	upgrader  upgrader
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
	return strings.Join([]string{string(r.rhythm), stdin, index, schema, string(r.upgrader)}, "/")
}

// rows lists all combinations.
func rows() []row {
	var all []row
	both := []bool{false, true}
	for _, rhythm := range rhythms() {
		for _, newSchema := range both {
			for _, ownIndex := range both {
				for _, sockets := range both {
					for _, upgrader := range []upgrader{ownTrigger, service, hurry} {
						all = append(all, row{rhythm, sockets, ownIndex, newSchema, upgrader})
					}
				}
			}
		}
	}
	return all
}

// documented reports whether the table of the document has the row. It has every rhythm under the usual conditions,
// and the rhythms of agents with one other condition.
func (r row) documented() bool {
	differences := 0
	for _, differs := range []bool{r.sockets, r.ownIndex, r.newSchema} {
		if differs {
			differences++
		}
	}
	return differences == 0 || differences == 1 && (r.rhythm == bursts || r.rhythm == every)
}

// choose returns the rows with a name that a pattern matches as a whole; those of the document for an empty pattern.
func choose(pattern string) ([]row, error) {
	if pattern != "" {
		return report.Choose(pattern, rows(), row.String)
	}
	return slices.DeleteFunc(rows(), func(r row) bool { return !r.documented() }), nil
}

// sessions is the number of sessions at a time. Sessions with few calls leave processor time for more of them.
func (r row) sessions() int {
	switch {
	case r.newSchema:
		return 8
	case r.rhythm == hardly || r.rhythm == longCall:
		return 20
	}
	return 10
}

// worktrees is the number of repositories. A long call delays all sessions of its repository.
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

// environment returns additions to the environment of the servers.
func (r row) environment() []string {
	if r.upgrader == service {
		return []string{"RAG_RAT_NO_WATCH=1"}
	}
	return nil
}

// flags returns the flags of the service. Where closed gates are simulated it has the times that it has with the
// gate.
func (r row) flags() []string {
	if r.upgrader == service {
		return []string{"--gate", "off", "--settle", "200ms", "--group-hold", "300ms", "--hold", "2s", "--quiet-within", "5s"}
	}
	return []string{"--gate", "off"}
}
