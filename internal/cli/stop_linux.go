// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// What a clean stop makes up for. While the gate stood, the servers' own trigger was refused, and it tries again only
// when something happens to the file: without the service, servers that are still outdated would stay so until the next
// install. One open of the file has the trigger fire once more. After a kill nothing of this runs; the next service
// upgrades those that are outdated by itself, so it has nothing to make up for.

// behind are the servers that are outdated when the service stops.
type behind struct {
	// reopen has one server for each install that is to be opened, halted and paused count servers of others.
	reopen         []selector.PID
	halted, paused int
}

// asksWithin is how long a stop waits for the service to come to the question.
const asksWithin = time.Second

// untilStopped is a part of the service that ends all parts when stop ends. Before, while the service still answers, it
// finds out who is behind.
func (a *app) untilStopped(stop context.Context, service *controller.Service, h *host, left *behind) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done(): // another part has failed
			return nil
		case <-stop.Done():
		}
		if !h.gate.closed() {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, asksWithin)
		defer cancel()
		status, err := service.Status(ctx)
		if err == nil {
			var servers []controller.ServerStatus
			servers, err = service.Servers(ctx)
			*left = leftBehind(status, servers)
		}
		if err != nil {
			a.log.Warn("it is not known which servers stay outdated", "because", err)
		}
		return nil
	}
}

// leftBehind sorts the outdated servers by what is to be done for them. One that cannot exec the file is none of them:
// its trigger must not fire.
func leftBehind(status controller.Status, servers []controller.ServerStatus) (left behind) {
	type install struct {
		uid             uint32
		container, path string
	}
	seen := make(map[install]bool)
	for i := range servers {
		s := &servers[i]
		at := install{s.UID, s.Container, s.UpgradeBin}
		switch {
		case s.Verdict != selector.Outdated:
		case s.Rollout != nil && isHalted(status, s.Rollout):
			left.halted++
		case status.Paused:
			left.paused++
		case !seen[at]:
			seen[at] = true
			left.reopen = append(left.reopen, s.PID)
		}
	}
	return left
}

// isHalted reports whether a server is not signalled any more because others died.
func isHalted(status controller.Status, m *rollout.Member) bool {
	return slices.ContainsFunc(status.Rollouts, func(r rollout.Report) bool {
		return r.Number == m.Rollout && (r.Phase == rollout.PhaseHalted || slices.ContainsFunc(r.Halts, func(h rollout.Halt) bool { return h.UID == m.UID }))
	})
}

// endGate ends the gate, and then has the triggers of the servers that are behind fire. The service has ended by then:
// it does not signal a server that is being signalled by another.
func (a *app) endGate(h *host, left behind) {
	if !h.gate.closed() {
		return
	}
	if err := h.gate.end(); err != nil {
		a.log.Warn("the gate ends with this process", "because", err)
		return
	}
	if left.halted+left.paused > 0 {
		a.log.Warn("servers stay outdated until their binary is installed anew", "halted", left.halted, "paused", left.paused)
	}
	for _, pid := range left.reopen {
		if err := answered(asksWithin, func() error { return a.reopen(h, pid) }); err != nil {
			a.log.Warn("servers stay outdated: the installed file was not opened for them", "pid", pid, "because", err)
		}
	}
}

// answered is what f answers, or that it took too long: a file system need not answer at all.
func answered(limit time.Duration, f func() error) error {
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
func (a *app) reopen(h *host, pid selector.PID) error {
	rule := a.opts.rule()
	p, err := h.Inspect(pid, rule, time.Now())
	if err != nil {
		return err
	}
	rule.Install = selector.Install{Path: p.Path, Image: p.Target.Image, State: selector.StateReady}
	if d := rule.Judge(p); d.Verdict != selector.Outdated || p.Path == "" {
		return fmt.Errorf("it is %s: %s", d.Verdict, d.Detail)
	}
	root, how := unix.AT_FDCWD, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if p.View != h.procfs.View() {
		if root, err = h.procfs.OpenRoot(p.Identity, p.View); err != nil {
			return err
		}
		defer func() { _ = unix.Close(root) }()
		how.Resolve |= unix.RESOLVE_IN_ROOT
	}
	found, err := unix.Openat2(root, p.Path, &how)
	if err != nil {
		return fmt.Errorf("open %q: %w", p.Path, err)
	}
	defer func() { _ = unix.Close(found) }()
	return openRegular(found, p.Target.Image)
}

// openRegular opens what an O_PATH descriptor leads to, if it is still the file that was looked at. Only this open is
// seen by those who watch it.
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
