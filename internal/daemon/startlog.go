// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"strconv"
	"strings"
)

// logStart writes the line about the start, with all that limits what the service does.
func (s *service) logStart() {
	h, cfg := s.host, &s.host.cfg
	l, gate := cfg.Limits, "none"
	if h.gate.closed() {
		gate = h.gate.Hook()
	}
	if len(cfg.UnknownVariables) > 0 {
		variablesUnknown.to(cfg.Log, keyVariables.of(cfg.UnknownVariables))
	}
	serviceStarted.to(cfg.Log,
		keyVersion.of(cfg.Version), keyServes.of(cfg.describe(s.events.names)), keySource.of(string(h.Source())), keyGate.of(gate), keySocket.of(cfg.Socket),
		keyCanary.of(l.Canary), keyMaxFailures.of(l.MaxFailures), keyMaxInFlight.of(l.InFlight.String()), keyMaxAttempts.of(l.MaxAttempts),
		keyMaxPerUser.of(cfg.MaxPerUser), keyMaxInstalls.of(cfg.MaxInstalls), keySettle.of(cfg.Settle), keyQuiet.of(cfg.Quiet),
		keyQuietWithin.of(l.QuietWithin), keyGroupHold.of(l.GroupHold), keyHold.of(l.Hold), keyCanaryTimeout.of(l.CanaryTimeout),
		keyConfirmTimeout.of(l.ConfirmTimeout), keyArmTimeout.of(l.ArmTimeout), keyRetryAfter.of(l.RetryAfter))
}

// describe says which servers are served: installs, and what selects servers.
func (c *Config) describe(names *userNames) string {
	parts := []string{c.served()}
	if len(c.InstallPaths) == 0 && PIDNamespace() != HostNamespace {
		parts[0] = "PID namespace " + PIDNamespace()
	}
	s := c.Rule.Selection
	for _, uid := range s.Users {
		names.look(uid, strconv.FormatUint(uint64(uid), 10))
		parts = append(parts, "servers of "+names.of(uid))
	}
	for _, id := range s.Containers {
		parts = append(parts, "container "+id)
	}
	if s.NoContainers {
		parts = append(parts, "outside of containers")
	}
	return strings.Join(parts, ", ")
}
