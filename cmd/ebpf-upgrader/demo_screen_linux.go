// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

// demoScreen shows a fleet turn from old to new: on a terminal as one picture that is drawn again,
// elsewhere as lines. It is told by the service, and shows in the goroutine of await.
type demoScreen struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the demo
	out      io.Writer
	terminal bool
	servers  []*testfleet.Server
	news     chan demoNews

	states  map[selector.PID]upgrade.State
	rollout upgrade.Rollout
	drawn   bool
	// last is when the last server exec'd.
	last time.Time
}

// demoNews is a server that has come into another state, or a rollout into another phase.
type demoNews struct {
	member  *upgrade.Member
	rollout *upgrade.Rollout
	at      time.Time
}

func newDemoScreen(ctx context.Context, out io.Writer, servers []*testfleet.Server) *demoScreen {
	return &demoScreen{
		ctx: ctx, out: out, terminal: isTerminal(out), servers: servers,
		news: make(chan demoNews), states: make(map[selector.PID]upgrade.State),
	}
}

func (d *demoScreen) intro(path string, source upgrade.Source) {
	by := "a scan of /proc"
	if source == upgrade.SourceBPF {
		by = "eBPF"
	}
	fmt.Fprintf(d.out, "%d servers run %s and are armed; the service finds them through %s.\n", len(d.servers), path, by)
}

// await shows what happens until the rollout with that number has come to its end.
func (d *demoScreen) await(ctx context.Context, number uint64) error {
	for {
		select {
		case n := <-d.news:
			d.take(n)
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case d.rollout.Number != number:
		case d.rollout.Phase == upgrade.PhaseComplete:
			return nil
		case d.rollout.Phase == upgrade.PhaseHalted:
			return errors.New("the rollout halted: " + outcomes(d.rollout))
		}
	}
}

func (d *demoScreen) take(n demoNews) {
	if n.rollout != nil {
		d.rollout = *n.rollout
	} else {
		d.states[n.member.PID] = n.member.State
		if n.member.State == upgrade.Holding {
			d.last = n.at
		}
	}
	switch {
	case d.rollout.Number < 2: // nothing is outdated yet
	case d.terminal:
		d.draw()
	case n.rollout != nil:
		fmt.Fprintf(d.out, "  %s\n", phaseWords[n.rollout.Phase])
	case n.member.State != upgrade.Pending:
		fmt.Fprintf(d.out, "    server %d: %s\n", n.member.PID, n.member.State)
	}
}

var phaseWords = map[upgrade.Phase]string{
	upgrade.PhaseCanary:   "canary: one goes alone",
	upgrade.PhaseRolling:  "rolling: the others follow",
	upgrade.PhaseComplete: "complete",
	upgrade.PhaseHalted:   "halted: a server died, nobody else is asked",
}

// demoWidth is how many servers stand on a line of the picture.
const demoWidth = 60

// draw draws the picture over the last one.
func (d *demoScreen) draw() {
	lines := (len(d.servers) + demoWidth - 1) / demoWidth
	if d.drawn {
		fmt.Fprintf(d.out, "\x1b[%dA", lines+1)
	}
	d.drawn = true
	var row strings.Builder
	for i, s := range d.servers {
		if i%demoWidth == 0 {
			row.WriteString("\r  ")
		}
		row.WriteString(markOf(d.states[s.PID()]))
		if i%demoWidth == demoWidth-1 || i == len(d.servers)-1 {
			row.WriteString("\n")
		}
	}
	fmt.Fprintf(d.out, "%s  %-30s (o old, > asked, + new, * new and held)\x1b[K\n", row.String(), phaseWords[d.rollout.Phase])
}

func markOf(s upgrade.State) string {
	switch s {
	case upgrade.Notified:
		return ">"
	case upgrade.Holding:
		return "+"
	case upgrade.Upgraded:
		return "*"
	case upgrade.Died:
		return "x"
	}
	return "o"
}

func (d *demoScreen) outro(renamed time.Time) error {
	_, err := fmt.Fprintf(d.out, "%s; %d ms from the rename to the last server's exec.\n",
		outcomes(d.rollout), d.last.Sub(renamed).Milliseconds())
	return err
}

func (d *demoScreen) tell(n demoNews) {
	n.at = time.Now()
	select {
	case d.news <- n:
	case <-d.ctx.Done():
	}
}

// Moved implements [upgrade.Observer].
func (d *demoScreen) Moved(m upgrade.Member, _ upgrade.State) { d.tell(demoNews{member: &m}) }

// Rollout implements [upgrade.Observer].
func (d *demoScreen) Rollout(r upgrade.Rollout) {
	if !r.Superseded {
		d.tell(demoNews{rollout: &r})
	}
}

// Round implements [upgrade.Observer].
func (*demoScreen) Round(upgrade.Reason, upgrade.Report, time.Duration) {}

// Refused implements [upgrade.Observer].
func (*demoScreen) Refused(upgrade.Member, error) {}

// Trouble implements [upgrade.Observer].
func (*demoScreen) Trouble(error) {} // what did not work shows in the servers
