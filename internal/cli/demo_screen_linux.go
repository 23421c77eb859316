// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// demoScreen shows a fleet turn from old to new: on a terminal as one picture that is drawn again,
// elsewhere as lines. It is told by the service, and shows in the goroutine of await.
type demoScreen struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the demo
	out      io.Writer
	terminal bool
	servers  []*testfleet.Server
	news     chan demoNews

	// call is the file that keeps a server busy.
	call string

	states  map[selector.PID]rollout.State
	busy    map[selector.PID]bool
	rollout rollout.Report
	drawn   bool
	// last is when the last server exec'd.
	last time.Time
}

// demoNews is a server that has come into another state, or a rollout into another phase.
type demoNews struct {
	member  *rollout.Member
	rollout *rollout.Report
	at      time.Time
}

func newDemoScreen(ctx context.Context, out io.Writer, servers []*testfleet.Server, call string) *demoScreen {
	return &demoScreen{
		ctx: ctx, out: out, terminal: isTerminal(out), servers: servers, call: call,
		news: make(chan demoNews), states: make(map[selector.PID]rollout.State), busy: make(map[selector.PID]bool),
	}
}

func (d *demoScreen) intro(path string, source controller.Source) {
	by := "a scan of /proc"
	if source == controller.SourceBPF {
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
		case d.rollout.Phase.IsOver():
			return nil
		}
	}
}

func (d *demoScreen) take(n demoNews) {
	if n.rollout != nil {
		d.rollout = *n.rollout
	} else {
		d.states[n.member.PID] = n.member.State
		d.wait(n.member)
		if n.member.State == rollout.Settling && n.member.ArmedAt.IsZero() {
			d.last = n.at
		}
	}
	switch {
	case d.rollout.Number < 2: // nothing is outdated yet
	case d.terminal:
		d.draw()
	case n.rollout != nil:
		fmt.Fprintf(d.out, "  %s\n", phaseWords[n.rollout.Phase])
	case d.busy[n.member.PID]:
		fmt.Fprintf(d.out, "    server %d: busy, and waited for\n", n.member.PID)
	case n.member.State != rollout.Pending && n.member.State != rollout.None:
		line := fmt.Sprintf("    server %d: %s", n.member.PID, n.member.State)
		if n.member.Detail != "" {
			line += " (" + n.member.Detail + ")"
		}
		fmt.Fprintln(d.out, line)
	}
}

// callTakes is how long the call of the busy server goes on after it is waited for.
const callTakes = time.Second

// wait notes whether a server is waited for, and ends its call some time later.
func (d *demoScreen) wait(m *rollout.Member) {
	d.busy[m.PID] = m.State == rollout.Pending && !m.BusySince.IsZero()
	if d.busy[m.PID] {
		time.AfterFunc(callTakes, func() { _ = os.Remove(d.call) }) // the folder goes with the demo
	}
}

var phaseWords = map[rollout.Phase]string{
	rollout.PhaseCanary:   "canary: one goes alone",
	rollout.PhaseRolling:  "rolling: the others follow",
	rollout.PhaseComplete: "complete",
	rollout.PhaseHalted:   "halted: a server died, no other is signalled",
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
		row.WriteString(d.markOf(s.PID()))
		if i%demoWidth == demoWidth-1 || i == len(d.servers)-1 {
			row.WriteString("\n")
		}
	}
	fmt.Fprintf(d.out, "%s  %-30s (o old, ~ busy, > signalled, + new, * upgraded, x dead)\x1b[K\n", row.String(), phaseWords[d.rollout.Phase])
}

func (d *demoScreen) markOf(pid selector.PID) string {
	if d.busy[pid] {
		return "~"
	}
	switch d.states[pid] {
	case rollout.Signalled:
		return ">"
	case rollout.Settling:
		return "+"
	case rollout.Upgraded:
		return "*"
	case rollout.Crashed:
		return "x"
	}
	return "o"
}

func (d *demoScreen) outro(renamed time.Time) {
	fmt.Fprintf(d.out, "%s; %d ms from the rename to the last server's exec.\n",
		outcomes(d.rollout), d.last.Sub(renamed).Milliseconds())
}

// bad shows what a binary costs that exits at once.
func (d *demoScreen) bad(ctx context.Context, binary *testfleet.Install) error {
	if d.rollout.Phase != rollout.PhaseComplete {
		return errors.New("the rollout did not complete: " + outcomes(d.rollout))
	}
	d.drawn = false
	clear(d.states)
	fmt.Fprintln(d.out, "A bad binary lands: it exits with 1 at once.")
	if err := binary.ReplaceExiting(1); err != nil {
		return err
	}
	if err := d.await(ctx, 3); err != nil {
		return err
	}
	living := d.living(ctx)
	for _, h := range d.rollout.Halts {
		fmt.Fprintf(d.out, "halted: %s\n", h.Reason)
	}
	if living != len(d.servers)-1 {
		return fmt.Errorf("%d of %d servers live, want all but one", living, len(d.servers))
	}
	_, err := fmt.Fprintf(d.out, "1 server died; %d go on with the binary before.\n", living)
	return err
}

// living counts the servers that have not ended. Those that crashed are waited for: the kernel's event comes before their
// end.
func (d *demoScreen) living(ctx context.Context) (n int) {
	for _, s := range d.servers {
		crashed := make(chan struct{})
		if d.states[s.PID()] != rollout.Crashed {
			close(crashed)
		}
		select {
		case <-s.Exited():
			continue
		case <-crashed:
		case <-ctx.Done():
		}
		n++
	}
	return n
}

func (d *demoScreen) tell(n demoNews) {
	n.at = time.Now()
	select {
	case d.news <- n:
	case <-d.ctx.Done():
	}
}

// Moved implements [controller.Observer].
func (d *demoScreen) Moved(m rollout.Member, _ rollout.State) { d.tell(demoNews{member: &m}) }

// Rollout implements [controller.Observer].
func (d *demoScreen) Rollout(r rollout.Report) {
	if !r.Superseded {
		d.tell(demoNews{rollout: &r})
	}
}

// Round implements [controller.Observer].
func (*demoScreen) Round(controller.Reason, controller.Report, time.Duration) {}

// Refused implements [controller.Observer].
func (*demoScreen) Refused(rollout.Member, error) {}

// Trouble implements [controller.Observer].
func (*demoScreen) Trouble(error) {} // what did not work shows in the servers
