// SPDX-License-Identifier: MIT

package controller_test

import (
	"fmt"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
)

// observed is what the service has reported to its observer.
type observed struct {
	*guard
	rounds []api.Reason
	phases []rollout.Phase
	// halts counts those of each report on a rollout.
	halts    []int
	moves    []string
	troubles int
	refusals int
	// reported is how many servers the last round had.
	reported int
	// stall is for how long the service cannot go on after each step of a server.
	stall time.Duration
}

func (o *observed) Round(reason api.Reason, report api.Report, _ time.Duration) {
	o.change(func() {
		o.rounds = append(o.rounds, reason)
		o.reported = len(report.Servers)
	})
}

func (o *observed) Rollout(r rollout.Report) {
	o.change(func() {
		if !r.Superseded {
			o.phases = append(o.phases, r.Phase)
			o.halts = append(o.halts, len(r.Halts))
		}
	})
}

func (o *observed) Moved(m rollout.Member, from rollout.State) {
	o.change(func() { o.moves = append(o.moves, fmt.Sprintf("%d %s %s", m.PID, from, m.State)) })
	time.Sleep(o.stall)
}

func (o *observed) Refused(rollout.Member, error) { o.change(func() { o.refusals++ }) }

func (o *observed) Trouble(error) { o.change(func() { o.troubles++ }) }

// last is the last step that was told of a server.
func (o *observed) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.moves[len(o.moves)-1]
}

func (o *observed) requireLast(t *testing.T, want, when string) {
	t.Helper()
	if got := o.last(); got != want {
		t.Errorf("%s: the last step is %q, want %q", when, got, want)
	}
}

func (o *observed) lossRounds() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.rounds {
		if r == api.ReasonLoss {
			n++
		}
	}
	return n
}
