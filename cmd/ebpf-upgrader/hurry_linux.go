// SPDX-License-Identifier: MIT

package main

import "time"

// Without the gate the servers' own trigger fires 500 to 560 ms after an install (measured with rag-rat 0.24.1), at every
// server that is outdated by then. A signal that meets an exec kills, and beside a bad binary no canary protects. So the
// service must be through before: the same mechanism with shorter times.
const (
	hurriedSettle    = 100 * time.Millisecond
	hurriedGroupHold = 200 * time.Millisecond
	hurriedHold      = 300 * time.Millisecond
)

// hurry gives the times that the operator has not set the values for a service without a gate.
func (a *app) hurry() {
	for _, d := range []struct {
		flag  string
		value *time.Duration
		short time.Duration
	}{
		{"settle", &a.opts.settle, hurriedSettle},
		{"group-hold", &a.opts.limits.GroupHold, hurriedGroupHold},
		{"hold", &a.opts.limits.Hold, hurriedHold},
	} {
		if !a.opts.isSet(d.flag) {
			*d.value = d.short
		}
	}
	a.log.Info("hurrying, to be through before the servers' own trigger fires",
		"settle", a.opts.settle, "group_hold", a.opts.limits.GroupHold, "hold", a.opts.limits.Hold)
}
