// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"testing"

	"ebpf-upgrader/internal/api"
)

// TestFleetHost_ServersInContainerOnly_IsNotIdle: they have the folder of the install at another path.
func TestFleetHost_ServersInContainerOnly_IsNotIdle(t *testing.T) {
	m := newFleetHost(t, newEngine(), "one", 0)
	status := m.status
	m.status = func(ctx context.Context) (api.Status, error) {
		s, err := status(ctx)
		s.Installs[0].Path, s.Installs[0].Container = "/srv/agents/tool", "pid:[1]"
		return s, err
	}
	if n := m.request(t.Context(), m.stagedPath, "sha256:9f2c41d0").Servers; n != 1 {
		t.Errorf("%d servers, want 1", n)
	}
}
