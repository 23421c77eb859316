// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"

	"ebpf-upgrader/tracker"
)

// HostNamespace is the name of the host's own PID namespace in status.
const HostNamespace = "host"

// PIDNamespace names this program's PID namespace, which limits the processes that it sees: [HostNamespace], or
// "pid:[number]".
func PIDNamespace() string {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return "unknown: " + err.Error()
	case own == tracker.HostPIDNamespace:
		return HostNamespace
	}
	return own
}
