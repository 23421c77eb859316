// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/testfleet"
)

// triggerLoad describes the host on which the servers' own trigger is measured.
type triggerLoad struct {
	// worktrees is their number. Each has one session, with the elected server.
	worktrees int
	// processes is the number of idle processes. They belong to root or, with own, to the servers' user.
	processes int
	own       bool
	// apart gives each worktree its own data directory, so that its server is a group of its own.
	apart bool
	// flags are additional flags of the service.
	flags string
}

// check finds settings that a command line must not have.
func (l triggerLoad) check() error {
	switch {
	case l.worktrees < 0 || l.processes < 0:
		return errors.New("-triggers, -processes: want 0 or more")
	case l.worktrees == 0 && l != (triggerLoad{}):
		return errors.New("-processes, -own, -apart, -service: set the number of worktrees (-triggers)")
	}
	return nil
}

func (l triggerLoad) String() string {
	text := fmt.Sprintf("%d worktrees, %d idle processes", l.worktrees, l.processes)
	if l.own {
		text += " of the servers' user"
	}
	if l.apart {
		text += ", a data directory for each worktree"
	}
	if l.flags != "" {
		text += ", " + l.flags
	}
	return text
}

// start starts the idle processes. The caller must stop them.
func (l triggerLoad) start(t *trial) (*testfleet.Crowd, error) {
	o := testfleet.CrowdOptions{Dir: t.Dir, Every: l.processes + 1}
	if l.own {
		o.Credential = &testfleet.Credential{UID: t.Users[0].UID, GID: t.Users[0].UID}
	}
	return testfleet.StartCrowd(l.processes, o)
}

// triggersUser returns a user number that no scenario and no other run uses, so that no other trigger reaches these
// servers.
func triggersUser() int { return 1000 + os.Getpid()%10_000 }

// triggers measures what refused triggers cost: for one open of the file, a rollout, a halt, and an open during the halt.
func (c *command) triggers(ctx context.Context, path string) error {
	for _, mode := range c.modes {
		s := scenario{
			name: "triggers", worktrees: c.load.worktrees, agents: c.load.worktrees, index: agents.FrozenIndex,
			firstUser: triggersUser(), standIn: mode == outcome.Hurry, ownData: c.load.apart, flags: strings.Fields(c.load.flags),
		}
		if err := c.triggersIn(ctx, s, path, mode); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) triggersIn(ctx context.Context, s scenario, path string, mode outcome.Mode) (err error) {
	t, err := newTrial(ctx, s, c.pace, c.program, path, mode)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return err
	}
	if err := t.startSessions(ctx); err != nil {
		return err
	}
	count, err := countOpens(t.Installed()[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, count.close()) }()
	idle, err := c.load.start(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, idle.Stop()) }()
	beside := string(mode)
	if t.standIn {
		beside = "a filter in place of the gate"
	}
	fmt.Printf("\n%s, %s:\n\n%s\n", beside, c.load, columns)
	for _, phase := range []struct {
		name string
		act  func() error
	}{
		{"nothing", func() error { return nil }},
		{"an open", t.open},
		{"a rollout", func() error { return t.installPayload(sameVersion, path) }},
		{"an open, all upgraded", t.open},
		{"a halt", func() error { return t.installPayload(exit1, path) }},
		{"an open, halted", t.open},
	} {
		cost, err := t.measure(ctx, count, phase.act)
		if err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
		cost.phase = phase.name
		fmt.Println(cost)
	}
	return nil
}

// open opens the installed file, as the start of another session does.
func (t *trial) open() error {
	f, err := os.Open(t.Installed()[0])
	if err != nil {
		return err
	}
	return f.Close()
}

func (t *trial) installPayload(what payload, path string) error {
	text, err := what.bytes(path, "")
	if err != nil {
		return err
	}
	return t.install(text)
}

// awaitRest waits until no walk has begun for some time, the servers use little processor time, and no rollout goes on.
func (t *trial) awaitRest(ctx context.Context, count *openCounter, begin time.Time) error {
	const resting, share = 4 * time.Second, 20
	since, used := time.Now(), t.processorTime()
	for time.Since(since) < resting {
		if err := poll.Sleep(ctx, resting/8); err != nil {
			return err
		}
		_, _, last := count.walksSince(begin, t.pids())
		if now := t.processorTime(); last.After(since) || now-used > time.Since(since)/share+resting/share || t.unfinished(ctx) {
			since, used = time.Now(), now
		}
	}
	return nil
}
