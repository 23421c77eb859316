// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/tracker"
)

// checkGate closes the gate for a moment. The service works without: the exit code does not depend on it.
func checkGate(t *tracker.Tracker) finding {
	g, err := t.EnableGate()
	if err != nil {
		return finding{Check: "gate", Found: err.Error(), Do: whatGateNeeds() + "; until then " + daemon.WithoutGate}
	}
	return finding{Check: "gate", OK: true, Found: "refuses the servers' own signals, by " + g.Hook()}
}

// whatGateNeeds is the first thing that the kernel is found to lack.
func whatGateNeeds() string {
	lsms, err := os.ReadFile("/sys/kernel/security/lsm")
	// Linux 6.4 is the first with direct calls in ftrace on arm64, which BPF trampolines need (commit 2aa6ac03516d).
	_, isOlder := olderThan(6, 4)
	switch {
	case runtime.GOARCH == "arm64" && isOlder:
		return "use Linux 6.4 or later on arm64"
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return "use a kernel with BPF trampolines for this architecture"
	case err == nil && !slices.Contains(strings.Split(strings.TrimSpace(string(lsms)), ","), "bpf"):
		return "use a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, or with CONFIG_BPF_LSM and lsm=" +
			strings.TrimSpace(string(lsms)) + ",bpf at boot"
	}
	return "use a kernel that permits BPF programs to change return values (CONFIG_SECURITY, CONFIG_BPF_LSM with bpf in lsm= at " +
		"boot, or CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)"
}
