// SPDX-License-Identifier: MIT

package cli

import (
	"ebpf-upgrader/internal/caps"
)

// giveUpRights keeps what the rest of the work needs, once everything is loaded, attached and open.
func (a *app) giveUpRights(h *host) error {
	if !a.ownProcess {
		return nil
	}
	needsTracker := false
	if h.tracker != nil {
		if err := h.tracker.NeedsCapabilities(); err != nil {
			needsTracker = true
			a.log.Info("keeping the right to use BPF", "because", err)
		}
	}
	return caps.Keep(func(r caps.Right) bool { return !r.ForTracker || needsTracker })
}
