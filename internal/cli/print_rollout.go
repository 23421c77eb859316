// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// unreadyInstall is an install with a rollout under way and no ready file; nil if there is none.
func unreadyInstall(s api.Status, path string) *selector.Install {
	for _, r := range rolloutsFor(s, path) {
		if unready := unreadyOf(s, path, r); unready != nil && r.Settled() < r.Total() {
			return unready
		}
	}
	return nil
}

func unreadyOf(s api.Status, path string, r rollout.Report) (unready *selector.Install) {
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

// rolloutsFor are the rollouts of all installs with that path.
func rolloutsFor(s api.Status, path string) []rollout.Report {
	return slices.DeleteFunc(slices.Clone(s.Rollouts), func(r rollout.Report) bool {
		return !slices.ContainsFunc(s.Installs, func(i api.InstallStatus) bool {
			return i.Path == path && i.Rollout == r.Number
		})
	})
}
