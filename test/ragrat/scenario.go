// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"fmt"
	"regexp"

	"ebpf-upgrader/test/ragrat/agents"
)

// event is what happens to the service while the new file lands.
type event string

const (
	restarted event = "restarted"
	killed    event = "killed"
	paused    event = "paused"
)

// scenario is one thing that can happen to agents and their servers.
type scenario struct {
	name, about string
	lands       lands
	// worktrees is their number for each user, 1 if it is 0.
	worktrees int
	// users is their number, 1 if it is 0. They share one installed file, or each has one.
	users      int
	sharedFile bool
	// firstUser is the number of the first, from 0.
	firstUser int
	// index is where the worktrees have theirs.
	index agents.Index
	// odd is the kind of every third session; the others are usual.
	odd kind
	// event happens to the service, if there is one.
	event event
	// agents is how many there are, the usual number if it is 0.
	agents int
	// standIn: a filter of system calls stands in for the gate, and the service has the times that it has with one.
	standIn bool
	// ownData: each worktree has a data directory of its own.
	ownData bool
	// flags are the service's, besides those of its mode.
	flags []string
}

// sessions is how many agents there usually are, of all users.
const sessions = 10

// scenarios are all of them, in the order of the tables.
func scenarios() []scenario {
	var all []scenario
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("good-%dw", n), about: fmt.Sprintf("another file of the same version, %s", worktrees(n)),
			lands: sameVersion, worktrees: n, index: agents.OwnIndex,
		})
	}
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("newer-%dw", n), about: fmt.Sprintf("a newer version, %s with one index", worktrees(n)),
			lands: newerVersion, worktrees: n, index: agents.UsersIndex,
		})
	}
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("exit1-%dw", n), about: fmt.Sprintf("a binary that exits with 1, %s", worktrees(n)),
			lands: exit1, worktrees: n, index: agents.OwnIndex,
		})
	}
	return append(all,
		scenario{name: "exit0-2w", about: "a binary that exits with 0, 2 worktrees", lands: exit0, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "hang-2w", about: "a binary that hangs, 2 worktrees", lands: hang, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "truncated-2w", about: "half a binary, 2 worktrees", lands: truncated, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "nolib-2w", about: "a binary that lacks a library, 2 worktrees", lands: noLibrary, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "no-initialize", about: "good; every third server has no `initialize` yet", lands: sameVersion, worktrees: 2, odd: uninitialized, index: agents.OwnIndex},
		scenario{name: "no-config", about: "good; every third server has no configuration", lands: sameVersion, worktrees: 2, odd: unconfigured, index: agents.OwnIndex},
		scenario{name: "no-variable", about: "good; every third server lacks the variable", lands: sameVersion, worktrees: 2, odd: unarmed, index: agents.OwnIndex},
		scenario{name: "two-users-shared-good", about: "good; two users with one file", lands: sameVersion, users: 2, sharedFile: true, index: agents.OwnIndex},
		scenario{name: "two-users-shared-exit1", about: "exits with 1; two users with one file", lands: exit1, users: 2, sharedFile: true, index: agents.OwnIndex},
		scenario{name: "two-users-own-good", about: "good; two users with a file each", lands: sameVersion, users: 2, index: agents.OwnIndex},
		scenario{name: "two-users-own-exit1", about: "exits with 1; two users with a file each", lands: exit1, users: 2, index: agents.OwnIndex},
		scenario{name: "restarted-good", about: "good; the service is restarted 0.2 s later", lands: sameVersion, worktrees: 2, event: restarted, index: agents.OwnIndex},
		scenario{name: "killed-good", about: "good; the service is killed 0.2 s later and started again", lands: sameVersion, worktrees: 2, event: killed, index: agents.OwnIndex},
		scenario{name: "paused-good", about: "good; the service is paused, and resumes after 3 s", lands: sameVersion, worktrees: 2, event: paused, index: agents.OwnIndex},
		scenario{name: "killed-exit1", about: "exits with 1; the service is killed 0.2 s later and started again", lands: exit1, worktrees: 2, event: killed, index: agents.OwnIndex},
		scenario{name: "paused-exit1", about: "exits with 1; the service is paused, and resumes after 3 s", lands: exit1, worktrees: 2, event: paused, index: agents.OwnIndex},
	)
}

func worktrees(n int) string {
	if n == 1 {
		return "1 worktree"
	}
	return fmt.Sprintf("%d worktrees", n)
}

// choose takes those whose whole name a pattern matches, all for "".
func choose(pattern string) ([]scenario, error) {
	if pattern == "" {
		return scenarios(), nil
	}
	match, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("-run %q: %w", pattern, err)
	}
	var chosen []scenario
	for _, s := range scenarios() {
		if match.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-run %q: no scenario has that name, -list shows them", pattern)
	}
	return chosen, nil
}

// kinds are those of the sessions, in the order in which they start.
func (s scenario) kinds() []kind {
	all := make([]kind, cmp.Or(s.agents, sessions))
	for i := range all {
		if i%3 == 2 {
			all[i] = s.odd
		}
	}
	return all
}
