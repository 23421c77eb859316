// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"time"

	"ebpf-upgrader/internal/control"
)

// otherService says that the service leaves its servers to another one, or waits for that; empty: it does neither.
func otherService(s control.Status, v view) string {
	if by := s.StandsBy; by != nil {
		process := "another process"
		if by.PID != 0 {
			process = fmt.Sprintf("process %d", by.PID)
		}
		return fmt.Sprintf("stands by: %s of %s serves these servers", process, v.names.inText(by.UID))
	}
	var until time.Time
	for _, r := range s.Rollouts {
		if r.YieldsUntil.After(until) {
			until = r.YieldsUntil
		}
	}
	if !until.After(v.now) {
		return ""
	}
	return fmt.Sprintf("waits until %s for a service of the host, which cannot be seen from here", until.Local().Format("15:04:05"))
}
