// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"slices"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// stuck is an install whose rollout is under way, and nothing ready stands there any more; nil if there is none.
func stuck(s controller.Status, path string) *selector.Install {
	for _, r := range of(s, path) {
		if unready := unreadyOf(s, path, r); unready != nil && r.Settled() < r.Total() {
			return unready
		}
	}
	return nil
}

func unreadyOf(s controller.Status, path string, r rollout.Report) (unready *selector.Install) {
	for _, i := range s.Installs {
		switch {
		case i.Path != path || i.Rollout != r.Number:
		case i.State == selector.StateReady:
			return nil
		default:
			unready = &i.Install
		}
	}
	return unready
}

// of are the rollouts of an install, wherever its path leads.
func of(s controller.Status, path string) []rollout.Report {
	return slices.DeleteFunc(slices.Clone(s.Rollouts), func(r rollout.Report) bool {
		return !slices.ContainsFunc(s.Installs, func(i controller.InstallStatus) bool {
			return i.Path == path && i.Rollout == r.Number
		})
	})
}
