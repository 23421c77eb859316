// SPDX-License-Identifier: MIT

package main

import (
	"ebpf-upgrader/rights"
)

// giveUpRights keeps what the rest of the work needs, once everything is loaded, attached and open.
func (a *app) giveUpRights(h *host) error {
	if !a.ownProcess {
		return nil
	}
	needsTracker := false
	if h.tracker != nil {
		if err := h.tracker.NeedsRights(); err != nil {
			needsTracker = true
			a.log.Info("keeping the right to use BPF", "because", err)
		}
	}
	return rights.Keep(func(r rights.Right) bool { return !r.ForTracker || needsTracker })
}
