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

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
	"ebpf-upgrader/test/testfleet"
)

// crowd is the host on which triggers are measured.
type crowd struct {
	// worktrees have one session each, whose server is the elected one.
	worktrees int
	// processes are idle. They belong to root, or to the servers' user.
	processes int
	own       bool
	// apart: each worktree has a data directory of its own, so that its server is a group of its own.
	apart bool
	// flags are the service's, besides.
	flags string
}

// check is for what a command line may say.
func (c crowd) check() error {
	switch {
	case c.worktrees < 0 || c.processes < 0:
		return errors.New("-triggers, -processes: want 0 or more")
	case c.worktrees == 0 && c != (crowd{}):
		return errors.New("-processes, -own, -apart, -service: say how many worktrees there are (-triggers)")
	}
	return nil
}

// measured is what the servers' own trigger cost in a phase.
type measured struct {
	what string
	// opens of the installed file; each fires the trigger of all that watch.
	opens int
	// walks over /proc, by how many of the servers, and the time from the first cause to the begin of the last.
	walks, walkers int
	span           time.Duration
	// used is the processor time of all servers, whatever it was for.
	used time.Duration
	// refused is how many signals the gate refused.
	refused uint64
	// ended says how the rollout ended.
	ended string
}

// columns are those of a row.
const columns = "| | opens of the file | walks | by servers | within | processor time of all servers | of that for a walk | refused | at the end |\n" +
	"|---|---|---|---|---|---|---|---|---|"

// String is a row.
func (m measured) String() string {
	each := "–"
	if m.walks > 0 {
		each = fmt.Sprintf("%.1f ms", 1000*m.used.Seconds()/float64(m.walks))
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %.1f s | %.2f s | %s | %d | %s |",
		m.what, m.opens, m.walks, m.walkers, m.span.Seconds(), m.used.Seconds(), each, m.refused, m.ended)
}

// triggersUser is the number of these servers' user: no trigger of a scenario's servers, or of another run's, is to reach
// them.
func triggersUser() int { return 1000 + os.Getpid()%10_000 }

// triggers measures what refused triggers cost: for one open of the file, a rollout, a halt, and an open during the halt.
func (c *command) triggers(ctx context.Context, path string) error {
	for _, mode := range c.modes {
		s := scenario{
			name: "triggers", worktrees: c.crowd.worktrees, agents: c.crowd.worktrees, index: agents.CalmIndex,
			firstUser: triggersUser(), standIn: mode == outcome.Hurry, ownData: c.crowd.apart, flags: strings.Fields(c.crowd.flags),
		}
		if err := c.triggersIn(ctx, s, path, mode); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) triggersIn(ctx context.Context, s scenario, path string, mode outcome.Mode) (err error) {
	w, err := newWorld(ctx, s, c.pace, c.program, path, mode)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return err
	}
	if err := w.people(ctx); err != nil {
		return err
	}
	count, err := countOpens(w.installed[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, count.close()) }()
	idle, err := c.crowd.start(w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, idle.Stop()) }()
	fmt.Printf("\n%s, %s:\n\n%s\n", w.beside(mode), c.crowd, columns)
	for _, phase := range []struct {
		what string
		act  func() error
	}{
		{"nothing", func() error { return nil }},
		{"an open", w.open},
		{"a rollout", func() error { return w.install(ctx, sameVersion, path) }},
		{"an open, all upgraded", w.open},
		{"a halt", func() error { return w.install(ctx, exit1, path) }},
		{"an open, halted", w.open},
	} {
		m, err := w.measure(ctx, count, phase.act)
		if err != nil {
			return fmt.Errorf("%s: %w", phase.what, err)
		}
		m.what = phase.what
		fmt.Println(m)
	}
	return nil
}

// beside is what stands beside the servers' own trigger.
func (w *world) beside(mode outcome.Mode) string {
	if w.standIn {
		return "a filter in place of the gate"
	}
	return string(mode)
}

func (c crowd) String() string {
	text := fmt.Sprintf("%d worktrees, %d idle processes", c.worktrees, c.processes)
	if c.own {
		text += " of the servers' user"
	}
	if c.apart {
		text += ", a data directory for each worktree"
	}
	if c.flags != "" {
		text += ", " + c.flags
	}
	return text
}

func (c crowd) start(w *world) (*testfleet.Crowd, error) {
	o := testfleet.CrowdOptions{Dir: w.dir, Every: c.processes + 1}
	if c.own {
		o.Credential = &testfleet.Credential{UID: w.users[0].UID, GID: w.users[0].UID}
	}
	return testfleet.StartCrowd(c.processes, o)
}

// open opens the installed file, as the start of one more session does.
func (w *world) open() error {
	f, err := os.Open(w.installed[0])
	if err != nil {
		return err
	}
	return f.Close()
}

func (w *world) install(ctx context.Context, what lands, path string) error {
	text, err := what.bytes(path, "")
	if err != nil {
		return err
	}
	return w.land(ctx, text)
}

// measure acts, and waits until the servers rest again.
func (w *world) measure(ctx context.Context, count *opens, act func() error) (m measured, err error) {
	begin, used, files, refused := time.Now(), w.used(), count.ofFile(), w.refused(ctx)
	if err := act(); err != nil {
		return m, err
	}
	if err := w.rest(ctx, count, begin); err != nil {
		return m, err
	}
	m.used, m.opens, m.refused = w.used()-used, count.ofFile()-files, w.refused(ctx)-refused
	var last time.Time
	if m.walks, m.walkers, last = count.since(begin, w.pids()); m.walks > 0 {
		m.span = last.Sub(begin)
	}
	m.ended = w.described(ctx)
	return m, nil
}

// described counts the servers that run the installed file, and those that have ended.
func (w *world) described(ctx context.Context) string {
	upgraded, dead := 0, 0
	for _, s := range w.sessions {
		s.look()
		switch {
		case s.Gone():
			dead++
		case s.last == w.fresh[s.Installed]:
			upgraded++
		}
	}
	text := fmt.Sprintf("%d run the file, %d have ended", upgraded, dead)
	if w.service != nil {
		text += ", " + w.service.Phase(ctx, w.installed)
	}
	return text
}

// refused is how many signals the gate has refused so far, 0 without a gate.
func (w *world) refused(ctx context.Context) uint64 {
	if w.service == nil {
		return 0
	}
	status, err := w.service.Client().Status(ctx)
	if err != nil {
		return 0
	}
	return status.Gate.Refused
}

// rest waits until no walk has begun for some time, no server has used a processor much, and no rollout goes on.
func (w *world) rest(ctx context.Context, count *opens, begin time.Time) error {
	const resting, share = 4 * time.Second, 20
	since, used := time.Now(), w.used()
	for time.Since(since) < resting {
		if err := sleep(ctx, resting/8); err != nil {
			return err
		}
		_, _, last := count.since(begin, w.pids())
		if now := w.used(); last.After(since) || now-used > time.Since(since)/share+resting/share || w.unfinished(ctx) {
			since, used = time.Now(), now
		}
	}
	return nil
}

// pids are the servers'.
func (w *world) pids() (all []int) {
	for _, s := range w.sessions {
		all = append(all, s.PID())
	}
	return all
}

// used is the processor time of all servers so far. What one had used that has ended is kept.
func (w *world) used() (all time.Duration) {
	const cpuclockSched = 2 // include/linux/posix-timers.h
	for _, s := range w.sessions {
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^s.PID()<<3|cpuclockSched), &used); err == nil && !s.Gone() {
			s.used = time.Duration(used.Nano())
		}
		all += s.used
	}
	return all
}
