// SPDX-License-Identifier: MIT

package schedule

import "time"

// Throttle paces work that is asked for at any rate, and that leaves time for the rest: after work that took d there is a
// pause of Factor*d, and of Min at least.
type Throttle struct {
	Factor int
	Min    time.Duration

	notBefore time.Time
}

// Done notes that work began at start and ended now.
func (t *Throttle) Done(start, now time.Time) {
	t.notBefore = now.Add(max(t.Min, time.Duration(t.Factor)*now.Sub(start)))
}

// Next is when the work may be done that is asked for at a time: then, or at the end of the pause.
func (t *Throttle) Next(at time.Time) time.Time {
	if t.notBefore.After(at) {
		return t.notBefore
	}
	return at
}
