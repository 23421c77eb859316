// SPDX-License-Identifier: MIT

//go:build linux

package cli

import "ebpf-upgrader/internal/launch"

// helper is the program of the process that runs staged files, if that is what this process was started as.
func helper(args []string) (code int, isHelper bool) {
	if len(args) == 0 || args[0] != launch.Argument {
		return 0, false
	}
	return launch.Main(args), true
}
