// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"io"
	"slices"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

// late names the upgraded servers that crashed. A halt has named those of its user.
func (v view) late(w io.Writer, s control.Status) {
	for _, r := range s.Rollouts {
		if r.Late == 0 {
			continue
		}
		var named []string
		left := r.Late
		for _, c := range r.LateCrashes {
			left--
			if !slices.ContainsFunc(r.Halts, func(h rollout.Halt) bool { return h.UID == c.UID && len(h.Deaths) > 0 }) {
				named = append(named, fmt.Sprintf("%s, %s: %s", v.names.inText(c.UID), ago(c.At, v.now), describeDeath(c.ServerDeath)))
			}
		}
		if len(named) == 0 && left == 0 {
			continue
		}
		v.line(w, screen.Warning, "late", "%s: %s crashed", r.Install.Path, counted(r.Late, "upgraded server"))
		for _, line := range named {
			v.line(w, screen.Plain, "", "%s", line)
		}
		if left > 0 {
			v.line(w, screen.Plain, "", "and %d more: ebpf-upgrader events --kind server", left)
		}
	}
}
