// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"ebpf-upgrader/internal/testfleet"
	"ebpf-upgrader/upgrade"
)

// demoScreen shows a fleet turn from old to new: on a terminal as one picture that is drawn again,
// elsewhere as one line for each server.
type demoScreen struct {
	out      io.Writer
	terminal bool
	servers  []*testfleet.Server
	upgraded int
	drawn    bool
}

func newDemoScreen(out io.Writer, servers []*testfleet.Server) *demoScreen {
	return &demoScreen{out: out, terminal: isTerminal(out), servers: servers}
}

func (d *demoScreen) intro(path string, source upgrade.Source) {
	by := "a scan of /proc"
	if source == upgrade.SourceBPF {
		by = "eBPF"
	}
	fmt.Fprintf(d.out, "%d servers run %s and are armed; the service finds them through %s.\n", len(d.servers), path, by)
}

// turned is one server that has come up on its next image.
type turned struct {
	number int
	at     time.Time
	err    error
}

// watch shows what happens until every server has turned, and answers with when the last one had.
func (d *demoScreen) watch(ctx context.Context, rounds <-chan upgrade.Report) (last time.Time, err error) {
	turns := make(chan turned, len(d.servers))
	for i, s := range d.servers {
		go func() {
			e, err := s.Await(ctx, func(e testfleet.Event) bool {
				return e.Kind == testfleet.Started && e.Generation == 1
			})
			turns <- turned{i, e.At, err}
		}()
	}
	fmt.Fprintln(d.out, "A new binary lands by rename:")
	d.draw()
	for d.upgraded < len(d.servers) {
		select {
		case <-rounds:
		case turn := <-turns:
			if turn.err != nil {
				return last, turn.err
			}
			d.upgraded++
			if turn.at.After(last) {
				last = turn.at
			}
			d.show(turn)
		}
	}
	return last, nil
}

func (d *demoScreen) show(turn turned) {
	if d.terminal {
		d.draw()
		return
	}
	s := d.servers[turn.number]
	fmt.Fprintf(d.out, "  server %d runs the new binary (%d of %d)\n", s.PID(), d.upgraded, len(d.servers))
}

// demoWidth is how many servers stand on a line of the picture.
const demoWidth = 60

// draw draws the picture over the last one.
func (d *demoScreen) draw() {
	if !d.terminal {
		return
	}
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
		row.WriteString(markOf(s))
		if i%demoWidth == demoWidth-1 || i == len(d.servers)-1 {
			row.WriteString("\n")
		}
	}
	fmt.Fprintf(d.out, "%s  %d of %d upgraded   (o old, * new)\n", row.String(), d.upgraded, len(d.servers))
}

func markOf(s *testfleet.Server) string {
	if s.Generation() > 0 {
		return "*"
	}
	return "o"
}

func (d *demoScreen) outro(took time.Duration) error {
	_, err := fmt.Fprintf(d.out, "%d of %d servers upgraded, %d ms from the rename to the last one.\n",
		d.upgraded, len(d.servers), took.Milliseconds())
	return err
}
