// SPDX-License-Identifier: MIT

package api

import (
	"slices"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Serves says which servers a service serves: the values of its flags.
type Serves struct {
	Names      []string `json:"names"`
	Subcommand string   `json:"subcommand"`
	// Variable is the environment variable that arms a server, and Signal the name of the signal.
	Variable string `json:"variable"`
	Signal   string `json:"signal"`
	// InstallPaths are the only installs, and Users and Containers the only ones with servers that are served; empty: all.
	InstallPaths []string `json:"install_paths"`
	Users        []uint32 `json:"users"`
	Containers   []string `json:"containers"`
	NoContainers bool     `json:"no_containers"`
	// Quiet is how long a server must be idle before it is signalled; 0: not at all.
	Quiet rollout.Seconds `json:"quiet_seconds"`
}

// Finds reports whether servers are those that rule looks for, whatever its selection is.
func (s Serves) Finds(rule selector.Rule) bool {
	return slices.Equal(slices.Sorted(slices.Values(s.Names)), slices.Sorted(slices.Values(rule.Names))) &&
		s.Subcommand == rule.Subcommand && s.Variable == rule.Variable && s.Signal == rule.Signal
}

// IsEverything reports whether no server is left out.
func (s Serves) IsEverything() bool {
	return len(s.InstallPaths)+len(s.Users)+len(s.Containers) == 0 && !s.NoContainers
}
