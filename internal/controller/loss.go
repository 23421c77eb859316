// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"time"
)

// lossPause is the least time between two rounds after losses: who makes the kernel lose events does so
// without a pause.
const lossPause = 250 * time.Millisecond

// losses paces the rounds over everybody that losses lead to: the first is made at once, another one not
// before there was more time for the rest. The zero losses are none.
type losses struct {
	// next is when the round is made that is due; zero when none is.
	next time.Time
	// free is when another one may be.
	free time.Time
}

// happened notes one, and reports whether the round is to be made at once.
func (l *losses) happened(now time.Time) bool {
	if l.free.After(now) {
		l.next = l.free
		return false
	}
	return true
}

func (l *losses) due(now time.Time) bool { return !l.next.IsZero() && !l.next.After(now) }

// roundAfterLoss looks at everybody, and then leaves time for the rest.
func (s *Service) roundAfterLoss(ctx context.Context) {
	start := time.Now()
	s.roundOverAll(ctx, ReasonLoss)
	now := time.Now()
	s.losses.free = now.Add(max(lossPause, calm*now.Sub(start)))
}
