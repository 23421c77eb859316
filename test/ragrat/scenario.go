// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"fmt"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/report"
)

// event is what happens to the service around the install.
type event string

const (
	restarted event = "restarted"
	killed    event = "killed"
	paused    event = "paused"
)

// scenario is a situation of agents and their servers, and what is installed in it.
type scenario struct {
	name, about string
	installs    payload
	// worktrees is the number of each user's worktrees; 0 means 1.
	worktrees int
	// users is the number of users; 0 means 1. They share one installed file, or each user has one.
	users      int
	sharedFile bool
	// firstUser is the number of the first user, from 0.
	firstUser int
	// index says where the index of the worktrees is.
	index agents.Index
	// odd is the kind of every third session. The others are usual.
	odd kind
	// event is empty if the service runs undisturbed.
	event event
	// agents is the number of sessions; 0 means sessionsPerScenario.
	agents int
	// standIn replaces the gate by a filter of system calls. The service has the times that it has with the gate.
	standIn bool
	// ownData gives each worktree its own data directory.
	ownData bool
	// flags are flags of the service in addition to those of its mode.
	flags []string
}

// sessionsPerScenario is the usual number of sessions of all users together.
const sessionsPerScenario = 10

// scenarios lists all scenarios in the order of the tables.
func scenarios() []scenario {
	var all []scenario
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("good-%dw", n), about: fmt.Sprintf("another file of the same version, %s", worktrees(n)),
			installs: sameVersion, worktrees: n, index: agents.OwnIndex,
		})
	}
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("newer-%dw", n), about: fmt.Sprintf("a newer version, %s with one index", worktrees(n)),
			installs: newerVersion, worktrees: n, index: agents.UsersIndex,
		})
	}
	for _, n := range []int{1, 2, 5} {
		all = append(all, scenario{
			name: fmt.Sprintf("exit1-%dw", n), about: fmt.Sprintf("a binary that exits with 1, %s", worktrees(n)),
			installs: exit1, worktrees: n, index: agents.OwnIndex,
		})
	}
	return append(all,
		scenario{name: "exit0-2w", about: "a binary that exits with 0, 2 worktrees", installs: exit0, worktrees: 2, index: agents.OwnIndex},
		scenario{
			name: "hang-2w", about: "a binary that hangs, 2 worktrees", installs: hang, worktrees: 2, index: agents.OwnIndex,
			flags: []string{"--arm-timeout", "20s"}, // it is never armed, so the default only takes longer
		},
		scenario{name: "truncated-2w", about: "half a binary, 2 worktrees", installs: truncated, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "nolib-2w", about: "a binary that lacks a library, 2 worktrees", installs: noLibrary, worktrees: 2, index: agents.OwnIndex},
		scenario{name: "no-initialize", about: "good; every third session has no `initialize` yet", installs: sameVersion, worktrees: 2, odd: uninitialized, index: agents.OwnIndex},
		scenario{name: "no-config", about: "good; every third server has no configuration", installs: sameVersion, worktrees: 2, odd: unconfigured, index: agents.OwnIndex},
		scenario{name: "no-variable", about: "good; every third server lacks the variable", installs: sameVersion, worktrees: 2, odd: unarmed, index: agents.OwnIndex},
		scenario{name: "two-users-shared-good", about: "good; two users with one file", installs: sameVersion, users: 2, sharedFile: true, index: agents.OwnIndex},
		scenario{name: "two-users-shared-exit1", about: "exits with 1; two users with one file", installs: exit1, users: 2, sharedFile: true, index: agents.OwnIndex},
		scenario{name: "two-users-own-good", about: "good; two users with a file each", installs: sameVersion, users: 2, index: agents.OwnIndex},
		scenario{name: "two-users-own-exit1", about: "exits with 1; two users with a file each", installs: exit1, users: 2, index: agents.OwnIndex},
		scenario{name: "restarted-good", about: "good; the service is restarted 0.2 s later", installs: sameVersion, worktrees: 2, event: restarted, index: agents.OwnIndex},
		scenario{name: "killed-good", about: "good; the service is killed 0.2 s later and started again", installs: sameVersion, worktrees: 2, event: killed, index: agents.OwnIndex},
		scenario{name: "paused-good", about: "good; the service is paused, and resumes after 3 s", installs: sameVersion, worktrees: 2, event: paused, index: agents.OwnIndex},
		scenario{name: "killed-exit1", about: "exits with 1; the service is killed 0.2 s later and started again", installs: exit1, worktrees: 2, event: killed, index: agents.OwnIndex},
		scenario{name: "paused-exit1", about: "exits with 1; the service is paused, and resumes after 3 s", installs: exit1, worktrees: 2, event: paused, index: agents.OwnIndex},
	)
}

func worktrees(n int) string {
	if n == 1 {
		return "1 worktree"
	}
	return fmt.Sprintf("%d worktrees", n)
}

// choose returns the scenarios with a name that a pattern matches as a whole; all for an empty pattern.
func choose(pattern string) ([]scenario, error) {
	if pattern == "" {
		return scenarios(), nil
	}
	return report.Choose(pattern, scenarios(), func(s scenario) string { return s.name })
}

// kinds returns the kinds of the sessions, by their indexes.
func (s scenario) kinds() []kind {
	all := make([]kind, cmp.Or(s.agents, sessionsPerScenario))
	for i := range all {
		if i%3 == 2 {
			all[i] = s.odd
		}
	}
	return all
}
