// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strings"

	"ebpf-upgrader/upgrade"
)

// outcomes counts the states of a rollout's servers in one line.
func outcomes(r upgrade.Rollout) string {
	var parts []string
	for _, s := range upgrade.States() {
		if n := r.Servers[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}
