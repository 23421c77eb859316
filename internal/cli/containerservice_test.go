// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestContainerService_BesideHosts_YieldsToIt: neither knows of the other. With the usual hold
// time the host asks all but the first after two seconds only.
func TestContainerService_BesideHosts_YieldsToIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, inside := range []string{"bpf", "proc"} {
		t.Run("inside "+inside, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				leavesItToTheHost(t, source, inside)
			})
		})
	}
}

func leavesItToTheHost(t *testing.T, source, inside string) {
	t.Helper()
	hold := rollout.DefaultLimits().Hold.String()
	h := newWholeHost(t)
	c := newContainer(t, "/sys", "/sys")
	install := c.install("/opt/agent")
	var servers []*testfleet.Server
	for range 3 {
		servers = append(servers, c.start(install, h.name, func(o *testfleet.Options) {
			o.Behaviour.Drain = testfleet.Duration(300 * time.Millisecond) // in which a second signal would come
		}))
	}
	h.serve(source, "--hold", hold)
	client := c.serve("--name", h.name, "--source", inside, "--hold", hold).client(t)
	status, err := client.Status(within(t))
	must(t, err)
	if status.PIDNamespace == daemon.HostNamespace || string(status.Source) != inside {
		t.Errorf("the service in the container serves %q from %q", status.PIDNamespace, status.Source)
	}
	h.knows(1)
	for range 2 {
		before := servers[0].Signals()
		install.replace()
		install.allUpgraded(servers)
		eventually(t, "the service in the container has seen it", func() bool {
			status, err := client.Status(within(t))
			return err == nil && status.Verdicts[selector.UpToDate] == len(servers) && isComplete(status.Rollouts)
		})
		for _, server := range servers {
			if n := server.Signals() - before; n != 1 {
				t.Errorf("server %d got %d signals for one install", server.PID(), n)
			}
		}
	}
}

func isComplete(rollouts []rollout.Report) bool {
	return len(rollouts) == 1 && rollouts[0].Phase == rollout.PhaseComplete
}

// TestContainerService_Alone_Upgrades where the host has none.
func TestContainerService_Alone_Upgrades(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		c := newContainer(t, "/sys", "/sys")
		install, outside := c.install("/opt/agent"), newScene(t)
		inside, host := []*testfleet.Server{c.start(install, h.name)}, h.start(outside, 0, 1)
		client := c.serve("--name", h.name, "--source", source).client(t)
		eventually(t, "it knows its install", func() bool {
			status, err := client.Status(within(t))
			return err == nil && countInstalls(status.Status) == 1
		})
		install.replace()
		outside.replace()
		install.allUpgraded(inside)
		askedOnce(t, inside)
		allUnharmed(t, host)
	})
}
