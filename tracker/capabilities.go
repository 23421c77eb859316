// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
)

// NeedsCapabilities says why the Tracker needs CAP_BPF and CAP_PERFMON after Open, or nil if it does not. It tries: one
// thread lowers them and uses the maps in every way that the Tracker does. Since Linux 5.19 a process needs no
// capability to use a map that it has a descriptor of (commit c8644cd0efe7, "bpf: refine
// kernel.unprivileged_bpf_disabled behaviour"); before, that depends on the named setting.
func (t *Tracker) NeedsCapabilities() error {
	answer := make(chan error)
	go func() { answer <- withoutCapabilities(t.useMaps) }()
	return <-answer
}

// withoutCapabilities calls try in a thread that has lowered its effective capabilities, and raises them again. The
// permitted ones stay: a thread without them could live on for a moment, and [syscall.AllThreadsSyscall], which gives
// up capabilities in every thread, ends the process where their answers differ.
func withoutCapabilities(try func() error) error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData // version 3 has two halves
	if err := unix.Capget(&header, &before[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	lowered := before
	for _, c := range []int{unix.CAP_SYS_ADMIN, unix.CAP_BPF, unix.CAP_PERFMON} {
		lowered[c/32].Effective &^= 1 << (c % 32)
	}
	if err := unix.Capset(&header, &lowered[0]); err != nil {
		return fmt.Errorf("lower capabilities: %w", err)
	}
	tried := try()
	if err := unix.Capset(&header, &before[0]); err != nil {
		return errors.Join(tried, fmt.Errorf("raise capabilities: %w", err)) // still locked, so the thread ends
	}
	runtime.UnlockOSThread()
	return tried
}

// unusedKey is a key that no process has: the map does not hold the idle task.
const unusedKey = uint32(0)

// useMaps does every operation on the maps that the Tracker ever does, and leaves their content unchanged.
func (t *Tracker) useMaps() error {
	var s gen.ExecTrackerServer
	servers := t.objects.Servers
	if err := servers.Lookup(unusedKey, &s); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("look up in a map: %w", err)
	}
	if err := servers.Update(unusedKey, s, ebpf.UpdateNoExist); err != nil && !errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("insert into a map: %w", err)
	}
	if err := servers.Delete(unusedKey); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from a map: %w", err)
	}
	if _, err := t.Stats(); err != nil { // it reads the whole map as well
		return err
	}
	if g := t.gate.Load(); g != nil && g.Active() {
		_, refused := g.Refusals()
		_, counted := g.Stats()
		return errors.Join(refused, counted)
	}
	return nil
}
