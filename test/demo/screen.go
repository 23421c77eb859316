// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// screen shows a fleet turn from old to new: on a terminal as one picture that is drawn again, elsewhere as lines.
type screen struct {
	out      io.Writer
	terminal bool
	servers  []*testfleet.Server
	// call is the file that keeps a server busy.
	call string

	states  map[selector.PID]rollout.State
	busy    map[selector.PID]bool
	rollout rollout.Report
	drawn   bool
	// lastExec is when the last server exec'd.
	lastExec time.Time
}

func newScreen(out io.Writer, isTerminal bool, fleets []*testfleet.Fleet, call string) *screen {
	s := &screen{
		out: out, terminal: isTerminal, call: call,
		states: make(map[selector.PID]rollout.State), busy: make(map[selector.PID]bool),
	}
	for _, f := range fleets {
		s.servers = append(s.servers, f.Servers()...)
	}
	return s
}

func (s *screen) intro(path string, source api.Source) {
	by := "a scan of /proc"
	if source == api.SourceBPF {
		by = "eBPF"
	}
	fmt.Fprintf(s.out, "%d servers run %s and are armed; the service finds them through %s.\n", len(s.servers), path, by)
}

// await shows what happens until the rollout with that number is over.
func (s *screen) await(updates <-chan update, number uint64) error {
	for u := range updates {
		if u.err != nil {
			return u.err
		}
		s.take(u)
		if s.rollout.Number == number && s.rollout.Phase.IsOver() {
			return nil
		}
	}
	return errors.New("the rollouts took too long")
}

func (s *screen) take(u update) {
	isRollout := u.Kind == control.EventRollout
	if isRollout {
		s.rollout = u.rollout
	} else {
		s.takeServer(u)
	}
	switch {
	case s.rollout.Number < 2: // nothing is outdated yet
	case s.terminal:
		s.draw()
	case isRollout:
		fmt.Fprintf(s.out, "  %s\n", phaseText(s.rollout.Phase))
	case s.busy[u.PID]:
		fmt.Fprintf(s.out, "    server %d: busy, and waited for\n", u.PID)
	case *u.State != rollout.Pending && *u.State != rollout.None:
		line := fmt.Sprintf("    server %d: %s", u.PID, *u.State)
		if u.Detail != "" {
			line += " (" + u.Detail + ")"
		}
		fmt.Fprintln(s.out, line)
	}
}

// callTime is how long the call of the busy server goes on after the service began to wait for it.
const callTime = time.Second

// takeServer keeps a server's state. A pending server is reported a second time when the service begins to wait for it;
// its call ends some time later.
func (s *screen) takeServer(u update) {
	s.states[u.PID] = *u.State
	s.busy[u.PID] = *u.State == rollout.Pending && *u.From == rollout.Pending
	if s.busy[u.PID] {
		time.AfterFunc(callTime, func() { _ = os.Remove(s.call) }) // the folder goes with the demo
	}
	if *u.State == rollout.Settling && *u.From != rollout.Settling {
		s.lastExec = u.Time
	}
}

func phaseText(p rollout.Phase) string {
	switch p {
	case rollout.PhaseCanary:
		return "canary: one goes alone"
	case rollout.PhaseRolling:
		return "rolling: the others follow"
	case rollout.PhaseHalted:
		return "halted: a server died, no other is signalled"
	}
	return string(p)
}

// lineWidth is how many servers stand on a line of the picture.
const lineWidth = 60

// draw draws the picture over the last one.
func (s *screen) draw() {
	lines := (len(s.servers) + lineWidth - 1) / lineWidth
	if s.drawn {
		fmt.Fprintf(s.out, "\x1b[%dA", lines+1)
	}
	s.drawn = true
	var row strings.Builder
	for i, server := range s.servers {
		if i%lineWidth == 0 {
			row.WriteString("\r  ")
		}
		row.WriteString(s.mark(server.PID()))
		if i%lineWidth == lineWidth-1 || i == len(s.servers)-1 {
			row.WriteString("\n")
		}
	}
	fmt.Fprintf(s.out, "%s  %-30s (o old, ~ busy, > signalled, + new, * upgraded, x dead)\x1b[K\n", row.String(), phaseText(s.rollout.Phase))
}

func (s *screen) mark(pid selector.PID) string {
	if s.busy[pid] {
		return "~"
	}
	switch s.states[pid] {
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

func (s *screen) outro(renamed time.Time) {
	fmt.Fprintf(s.out, "%s; %d ms from the rename to the last server's exec.\n", s.outcomes(), s.lastExec.Sub(renamed).Milliseconds())
}

// outcomes counts the states of the rollout's servers.
func (s *screen) outcomes() string {
	var parts []string
	for _, state := range rollout.States() {
		if n := s.rollout.Servers[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

// begin clears the screen's memory for the bad binary.
func (s *screen) begin() error {
	if s.rollout.Phase != rollout.PhaseComplete {
		return errors.New("the rollout did not complete: " + s.outcomes())
	}
	s.drawn = false
	clear(s.states)
	_, err := fmt.Fprintln(s.out, "A bad binary lands: it exits with 1 at once.")
	return err
}

// losses shows what the bad binary cost.
func (s *screen) losses(ctx context.Context) error {
	living := s.living(ctx)
	for _, h := range s.rollout.Halts {
		fmt.Fprintf(s.out, "halted: %s\n", h.Reason)
	}
	if living != len(s.servers)-1 {
		return fmt.Errorf("%d of %d servers live, want all but one", living, len(s.servers))
	}
	_, err := fmt.Fprintf(s.out, "1 server died; %d go on with the binary before.\n", living)
	return err
}

// living counts the servers that have not ended. For those that crashed it waits: the kernel's event comes before the
// end.
func (s *screen) living(ctx context.Context) (n int) {
	for _, server := range s.servers {
		alive := make(chan struct{})
		if s.states[server.PID()] != rollout.Crashed {
			close(alive)
		}
		select {
		case <-server.Exited():
			continue
		default:
		}
		select {
		case <-server.Exited():
			continue
		case <-alive:
		case <-ctx.Done():
		}
		n++
	}
	return n
}
