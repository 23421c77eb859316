// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import "ebpf-upgrader/internal/caps"

// dropCapabilities keeps what the rest of the work needs, once everything is loaded, attached and open.
func (h *Host) dropCapabilities() error {
	if !h.cfg.OwnProcess {
		return nil
	}
	needsTracker := false
	if h.tracker != nil {
		if err := h.tracker.NeedsCapabilities(); err != nil {
			needsTracker = true
			h.cfg.Log.Info("keeping the capabilities for BPF", "error", err)
		}
	}
	return caps.Keep(func(c caps.Capability) bool { return !c.ForTracker || needsTracker })
}
