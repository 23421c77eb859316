// SPDX-License-Identifier: MIT

package rollout

import (
	"time"

	"ebpf-upgrader/selector"
)

// Unarmed is a server that runs the installed file and has no handler for the signal yet. It may hang.
type Unarmed struct {
	PID selector.PID `json:"pid"`
	// Since is when its exec was noticed, and HaltsAt when its group halts if it is not armed by then.
	Since   time.Time `json:"since"`
	HaltsAt time.Time `json:"halts_at"`
}

// unarmed returns the member that has waited longest to be armed, of those that may take armTimeout; nil: none waits.
func (r *roster) unarmed(armTimeout time.Duration) *Unarmed {
	var first *Member
	for _, m := range r.members {
		if m.State == Settling && m.ArmedAt.IsZero() && (first == nil || m.Since.Before(first.Since)) {
			first = m
		}
	}
	if first == nil {
		return nil
	}
	return &Unarmed{first.PID, first.Since, first.Since.Add(armTimeout)}
}
