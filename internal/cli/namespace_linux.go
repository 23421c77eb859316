// SPDX-License-Identifier: MIT

package cli

import (
	"os"

	"ebpf-upgrader/tracker"
)

// hostNamespace is how the host's own PID namespace is called.
const hostNamespace = "host"

// pidNamespace names the one whose processes this program sees: that of the host, or "pid:[number]".
func pidNamespace() string {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return "unknown: " + err.Error()
	case own == tracker.HostPIDNamespace:
		return hostNamespace
	}
	return own
}
