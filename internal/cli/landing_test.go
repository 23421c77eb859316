// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"slices"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestStatus_FileLands_IsNoOtherInstall: between the landing of a file and its report, which waits until it has settled, the servers
// are inspected. They wait for that file, and a new server runs it.
func TestStatus_FileLands_IsNoOtherInstall(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := []*testfleet.Server{s.start(nil), s.start(nil)}
		c := s.serve(source, "--settle", "2s", "--scan-every", "20ms").client(t)
		s.phase(c, rollout.PhaseComplete)
		s.replace()
		fleet = append(fleet, s.start(nil))
		waited := false
		eventually(t, "all servers are up to date", func() bool {
			known, err := c.Servers(within(t))
			must(t, err)
			known = slices.DeleteFunc(known, func(k api.ServerStatus) bool { return k.UpgradeBin != s.Path() }) // those of other tests
			for _, k := range known {
				waited = waited || k.Verdict == selector.UnreadyInstall && k.Detail == registry.ReasonChanged
				if k.Verdict == selector.OtherInstall {
					t.Fatalf("server %d is %s: %s", k.PID, k.Verdict, k.Detail)
				}
			}
			if n := s.status(c).Installs[0].Servers; n < len(known) {
				t.Fatalf("the install has %d of %d servers", n, len(known))
			}
			behind := slices.ContainsFunc(known, func(k api.ServerStatus) bool { return k.Verdict != selector.UpToDate })
			return len(known) == len(fleet) && !behind
		})
		if source == "proc" && !waited { // with events, a server need not be inspected in that time
			t.Error("no server was inspected before the file was reported")
		}
		for _, server := range fleet {
			s.upgraded(server)
		}
	})
}
