// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"

	"ebpf-upgrader/tracker"
)

// HostNamespace is the name of the host's own PID namespace in status.
const HostNamespace = "host"

// PIDNamespace names the PID namespace whose processes this program sees: [HostNamespace], or "pid:[number]".
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
