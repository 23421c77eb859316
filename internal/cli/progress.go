// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"io"

	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
)

// progress shows how far a rollout has come: as a line that is written again on a terminal, as lines elsewhere.
type progress struct {
	out        io.Writer
	isTerminal bool
	phase      rollout.Phase
}

// toLineStart moves the cursor to the start of its line, and clears the line.
const toLineStart = "\r\x1b[K"

func (p *progress) show(r rollout.Report) {
	switch {
	case p.isTerminal:
		fmt.Fprintf(p.out, toLineStart+"%s: %d of %d", r.Phase, r.Settled(), r.Total())
	case r.Phase != p.phase && r.Phase != rollout.PhaseIdle && !r.Phase.IsOver():
		p.say(fmt.Sprintf("%s: %s", r.Phase, daemon.Outcomes(r)))
	}
	p.phase = r.Phase
}

func (p *progress) moved(m rollout.Member) {
	if p.isTerminal {
		return
	}
	line := fmt.Sprintf("server %d: %s", m.PID, m.State)
	if m.Detail != "" {
		line += " (" + m.Detail + ")"
	}
	p.say(line)
}

func (p *progress) say(line string) {
	p.finish()
	fmt.Fprintln(p.out, printable(line))
}

// finish clears the line of progress.
func (p *progress) finish() {
	if p.isTerminal {
		fmt.Fprint(p.out, toLineStart)
	}
}
