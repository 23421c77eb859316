// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"fmt"
	"path/filepath"
	"strconv"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/internal/pidfd"
	"ebpf-upgrader/selector"
)

// FolderName is the name of this program's folder in those of the system or the user.
const FolderName = "ebpf-upgrader"

// presenceDirs are where the presence of a service of the whole host is looked for: root's run directory, and the same
// as the first process sees it. The second differs in a container that has no PID namespace of its own. A process that
// may not enter the root of the first process finds the first only.
func presenceDirs() []string {
	dir := filepath.Join("/run", FolderName)
	return []string{dir, filepath.Join("/proc/1/root", dir)}
}

// publish lets other users' services find that the whole host is served. A service that leaves any server out publishes
// nothing: others may serve that.
func (c *Config) publish(held *lock.Lock) {
	var err error
	if s := c.serves(); s.IsEverything() {
		err = held.Publish(c.Rule.Names)
	} else {
		err = held.Withdraw()
	}
	if err != nil {
		presenceHidden.to(c.Log, keyError.of(err))
	}
}

// CheckConflict fails while another service of the whole host serves servers with these names. The locks do not tell that
// of another user's service. own is the lock of this process, if it has one.
func CheckConflict(names []string, own *lock.Lock) error {
	p, isServed := servedBy(names, own)
	if !isServed {
		return nil
	}
	process := "another process"
	if p.PID != 0 {
		process = "process " + strconv.Itoa(p.PID)
	}
	return fmt.Errorf("%s serves the whole host, and so these servers: leave them to it, or stop it first", process)
}

// servedBy finds another service of the whole host that serves servers with these names.
func servedBy(names []string, own *lock.Lock) (p lock.Presence, ok bool) {
	for _, dir := range presenceDirs() {
		if own.Publishes(dir) {
			continue
		}
		if p, ok := lock.FindPresence(dir); ok && p.Serves(names) {
			return p, true
		}
	}
	return lock.Presence{}, false
}

// standsBy is the service that serves the servers of this one.
func (h *Host) standsBy() *control.Served {
	p, isServed := servedBy(h.cfg.Rule.Names, h.held)
	if !isServed {
		return nil
	}
	return &control.Served{PID: selector.PID(p.PID), UID: p.UID}
}

// pin pins a process that is to be signalled. A service of the whole host may have started after this one: as long as it
// runs, this process signals no server.
func (h *Host) pin(pid selector.PID) (deliver.Target, error) {
	if err := CheckConflict(h.cfg.Rule.Names, h.held); err != nil {
		return nil, err
	}
	return Pin(pid)
}

// Pin pins a process by a pidfd.
func Pin(pid selector.PID) (deliver.Target, error) {
	handle, err := pidfd.Open(pid)
	if err != nil {
		return nil, err
	}
	return handle, nil
}
