// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// triggerCost is what the servers' own trigger cost in a phase.
type triggerCost struct {
	phase string
	// opens counts opens of the installed file. Each fires the trigger of all servers that watch.
	opens int
	// walks counts walks over /proc, and walkers the servers that made them. span is the time from the first cause to the
	// start of the last walk.
	walks, walkers int
	span           time.Duration
	// used is the processor time of all servers for whatever purpose.
	used time.Duration
	// refused counts the signals that the gate refused.
	refused uint64
	// state describes the servers and the rollout at the end.
	state string
}

// columns is the head of the table.
const columns = "| | opens of the file | walks | by servers | within | processor time of all servers | of that for a walk | refused | at the end |\n" +
	"|---|---|---|---|---|---|---|---|---|"

// String formats a row of the table.
func (c triggerCost) String() string {
	each := "–"
	if c.walks > 0 {
		each = fmt.Sprintf("%.1f ms", 1000*c.used.Seconds()/float64(c.walks))
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %.1f s | %.2f s | %s | %d | %s |",
		c.phase, c.opens, c.walks, c.walkers, c.span.Seconds(), c.used.Seconds(), each, c.refused, c.state)
}

// measure acts, and counts until the servers rest again.
func (t *trial) measure(ctx context.Context, count *openCounter, act func() error) (c triggerCost, err error) {
	begin, used, files, refused := time.Now(), t.processorTime(), count.fileOpens(), t.refused(ctx)
	if err := act(); err != nil {
		return c, err
	}
	if err := t.awaitRest(ctx, count, begin); err != nil {
		return c, err
	}
	c.used, c.opens, c.refused = t.processorTime()-used, count.fileOpens()-files, t.refused(ctx)-refused
	var last time.Time
	if c.walks, c.walkers, last = count.walksSince(begin, t.pids()); c.walks > 0 {
		c.span = last.Sub(begin)
	}
	c.state = t.state(ctx)
	return c, nil
}

// state counts the servers that run the installed file and those that have ended.
func (t *trial) state(ctx context.Context) string {
	upgraded, dead := 0, 0
	for _, s := range t.sessions {
		s.observe()
		switch {
		case s.Gone():
			dead++
		case t.upgraded(s):
			upgraded++
		}
	}
	text := fmt.Sprintf("%d run the file, %d have ended", upgraded, dead)
	if t.Service != nil {
		text += ", " + t.Service.Phase(ctx, t.Installed())
	}
	return text
}

// refused returns how many signals the gate has refused so far; 0 without a gate.
func (t *trial) refused(ctx context.Context) uint64 {
	if t.Service == nil {
		return 0
	}
	status, err := t.Service.Client().Status(ctx)
	if err != nil {
		return 0
	}
	return status.Gate.Refused
}

func (t *trial) pids() (all []int) {
	for _, s := range t.sessions {
		all = append(all, s.PID())
	}
	return all
}

// processorTime returns the processor time of all servers so far. That of an ended server is its last reading.
func (t *trial) processorTime() (all time.Duration) {
	for _, s := range t.sessions {
		if used, err := agents.ProcessorTime(s.PID()); err == nil && !s.Gone() {
			s.used = used
		}
		all += s.used
	}
	return all
}
