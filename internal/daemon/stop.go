// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// What a clean stop makes up for: while the gate was closed, the servers' own trigger was refused, and it fires again only
// when something happens to the file. Without the service, servers that are still outdated would stay so until the next
// install. One open of the file makes the trigger fire once more. After a kill nothing of this runs; the next service
// upgrades the outdated servers by itself, so it has nothing to make up for.

// outdated are the servers that are outdated when the service stops.
type outdated struct {
	// reopen has one server for each install that is to be opened; halted and paused count servers of other installs.
	reopen         []selector.PID
	halted, paused int
	// behind counts all that run another image than the installed one, for whatever reason; -1: unknown.
	behind int
}

// fields are those of the log.
func (o outdated) fields() []slog.Attr {
	if o.behind < 0 {
		return nil
	}
	return []slog.Attr{keyBehind.of(o.behind)}
}

// stopQueryTimeout limits each query of the loop, and each file operation, while the service stops.
const stopQueryTimeout = time.Second

// outdated reads which servers are outdated, while the service still answers.
func (s *service) outdated(ctx context.Context) outdated {
	ctx, cancel := context.WithTimeout(ctx, stopQueryTimeout)
	defer cancel()
	status, err := s.controller.Status(ctx)
	var servers []api.ServerStatus
	if err == nil {
		servers, err = s.controller.Servers(ctx)
	}
	if err != nil {
		outdatedUnknown.to(s.host.cfg.Log, keyError.of(err))
		return outdated{behind: -1}
	}
	return outdatedOf(status, servers)
}

// outdatedOf sorts the outdated servers by what is to be done for them. A server that cannot exec the file is left out: its
// trigger must not fire.
func outdatedOf(status api.Status, servers []api.ServerStatus) (result outdated) {
	type install struct {
		uid             uint32
		container, path string
	}
	seen := make(map[install]bool)
	for i := range servers {
		s := &servers[i]
		at := install{s.UID, s.Container, s.UpgradeBin}
		if s.Stale {
			result.behind++
		}
		switch {
		case s.Verdict != selector.Outdated:
		case s.Rollout != nil && isStopped(status, s.Rollout):
			result.halted++
		case status.IsPausedFor(s.UID):
			result.paused++
		case !seen[at]:
			seen[at] = true
			result.reopen = append(result.reopen, s.PID)
		}
	}
	return result
}

// isStopped reports whether a server is not signalled any more: others died, or an operator abandoned the rollout.
func isStopped(status api.Status, m *rollout.Member) bool {
	return slices.ContainsFunc(status.Rollouts, func(r rollout.Report) bool { return r.Number == m.Rollout && r.IsStoppedFor(m.UID) })
}

// endGate ends the gate, and then makes the triggers of the outdated servers fire. The service has ended by then: it does
// not signal a server that another sender signals.
func (h *Host) endGate(servers outdated) {
	if !h.gate.closed() {
		return
	}
	log := h.cfg.Log
	if err := h.gate.end(); err != nil {
		gateStays.to(log, keyError.of(err))
		return
	}
	if servers.halted+servers.paused > 0 {
		outdatedStay.to(log, keyHalted.of(servers.halted), keyPaused.of(servers.paused))
	}
	for _, pid := range servers.reopen {
		if err := withTimeout(stopQueryTimeout, func() error { return h.reopen(pid) }); err != nil {
			outdatedUnopened.to(log, keyPID.of(pid), keyError.of(err))
		}
	}
}

// withTimeout returns the result of f, or an error after the limit: a file system may never answer.
func withTimeout(limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errors.New("the file system does not answer")
	}
}

// reopen opens the file that a server would exec and closes it again, as the server's exec would. The server is judged
// again before, so that no file is opened that its user could not exec.
func (h *Host) reopen(pid selector.PID) error {
	rule := h.cfg.Rule
	p, err := h.Inspect(pid, rule, time.Now())
	if err != nil {
		return err
	}
	rule.Install = selector.Install{Path: p.Path, Image: p.Target.Image, State: selector.StateReady}
	if d := rule.Judge(p); d.Verdict != selector.Outdated || p.Path == "" {
		return fmt.Errorf("it is %s: %s", d.Verdict, d.Detail)
	}
	root, resolve := unix.AT_FDCWD, uint64(unix.RESOLVE_NO_MAGICLINKS)
	if p.View != h.procfs.View() {
		if root, err = h.procfs.OpenRoot(p.Identity, p.View); err != nil {
			return err
		}
		defer func() { _ = unix.Close(root) }()
		resolve |= unix.RESOLVE_IN_ROOT
	}
	found, err := sys.OpenPath(root, p.Path, 0, resolve)
	if err != nil {
		return fmt.Errorf("open %q: %w", p.Path, err)
	}
	defer func() { _ = unix.Close(found) }()
	return openRegular(found, p.Target.Image)
}

// openRegular opens the file behind an O_PATH descriptor, if it is still the inspected one. Watchers see only this open.
func openRegular(found int, want selector.Image) error {
	var st unix.Stat_t
	if err := unix.Fstat(found, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || (selector.Image{Dev: uint64(st.Dev), Ino: st.Ino}) != want { //nolint:unconvert // 32 bits wide on mips
		return errors.New("it has just changed")
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", found), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
