// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/test/testfleet"
)

// TestStage_ServersInContainer_AreAwaited has servers in a container only, with the folder of the install at another path.
func TestStage_ServersInContainer_AreAwaited(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const inside = "/srv/agents"
	c := newContainer(t, filepath.Dir(s.Path()), inside)
	path := filepath.Join(inside, filepath.Base(s.Path()))
	for range 2 {
		c.start(s, path, func(o *testfleet.Options) { o.Binary, o.UpgradeBin = path, &path })
	}
	// A file that no server of the host names counts as settled after 5 s.
	p := s.serve("proc", "--stage", s.Path(), "--hold", "6s")
	client := p.client(t)
	s.stageGood()
	code, stdout, stderr := command(t, "activate", s.Path(), "--wait", "--socket", p.socket)
	if code != exitOK || !strings.Contains(stdout, "is in place at") {
		t.Fatalf("activate: %d %s%s", code, stdout, stderr)
	}
	status := s.status(client)
	if n := status.Rollouts[len(status.Rollouts)-1].Servers[rollout.Upgraded]; n != 2 || status.Staged[0].State != string(stage.Baking) {
		t.Errorf("%d servers are upgraded, and it is %s", n, status.Staged[0].State)
	}
}
