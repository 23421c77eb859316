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

// NeedsRights says why the Tracker needs CAP_BPF and CAP_PERFMON for its work after Open, or nil when it
// does not. It tries: one thread, which ends with that, gives them up and does what there is to do with
// the maps. Linux 5.19 asks for no right to use a map that one has (commit c8644cd0efe7, "bpf: refine
// kernel.unprivileged_bpf_disabled behaviour"); before, it depends on that setting.
func (t *Tracker) NeedsRights() error {
	answer := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: what this thread is, nobody else may be
		err := giveUpRights()
		if err == nil {
			err = t.useMaps()
		}
		answer <- err
	}()
	return <-answer
}

// giveUpRights concerns the calling thread.
func giveUpRights() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // version 3 has two halves
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, c := range []int{unix.CAP_SYS_ADMIN, unix.CAP_BPF, unix.CAP_PERFMON} {
		half, bit := &sets[c/32], uint32(1)<<(c%32)
		half.Effective &^= bit
		half.Permitted &^= bit
		half.Inheritable &^= bit
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// nobody is a key that no process has: the idle task is not in a map.
const nobody = uint32(0)

// useMaps does with the maps all that is ever done, and leaves them as they were.
func (t *Tracker) useMaps() error {
	var s gen.ExecTrackerServer
	servers := t.objects.Servers
	if err := servers.Lookup(nobody, &s); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("look up in a map: %w", err)
	}
	if err := servers.Update(nobody, s, ebpf.UpdateNoExist); err != nil && !errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("put into a map: %w", err)
	}
	if err := servers.Delete(nobody); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from a map: %w", err)
	}
	t.mu.Lock()
	_, err := t.snapshot()
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := t.Stats(); err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	if g := t.gate.Load(); g != nil && g.Active() {
		_, refused := g.Refusals()
		_, counted := g.Stats()
		return errors.Join(refused, counted)
	}
	return nil
}
