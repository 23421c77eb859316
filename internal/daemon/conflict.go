// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/internal/pidfd"
	"ebpf-upgrader/selector"
)

// FolderName is the name of this program's folder in those of the system or the user.
const FolderName = "ebpf-upgrader"

// signFolders are where a service of the whole host says that it runs: where root's has its locks, and the same
// as the first process sees it, which differs in a container that has no PID namespace of its own. Who may not
// look there sees the first only.
func signFolders() []string {
	folder := filepath.Join("/run", FolderName)
	return []string{folder, filepath.Join("/proc/1/root", folder)}
}

// announce says in the open that the whole host is served. Where somebody is left out, others may serve him.
func (c *Config) announce(held *lock.Lock) {
	s := c.Rule.Selection
	if len(c.InstallPaths) > 0 || len(s.Users)+len(s.Containers) > 0 || s.NoContainers {
		return
	}
	if err := held.Announce(c.Rule.Names); err != nil {
		c.Log.Warn("other users' services do not see this one", "error", err)
	}
}

// CheckConflict fails while another process serves the whole host, and so the servers with these names, too. The locks do
// not tell where that is a process of another user.
func CheckConflict(names []string) error {
	for _, dir := range signFolders() {
		sign, ok := lock.Announced(dir)
		if ok && sign.PID != os.Getpid() && sign.Shares(names) {
			return fmt.Errorf("process %d serves the whole host, and so these servers, too: leave them to that, or stop it first", sign.PID)
		}
	}
	return nil
}

// pin pins a process that is to be signalled. A service of the whole host may have started after this one: as long as it
// runs, this process signals no server.
func (h *Host) pin(pid selector.PID) (controller.Target, error) {
	if err := CheckConflict(h.cfg.Rule.Names); err != nil {
		return nil, err
	}
	return Pin(pid)
}

// Pin pins a process by a pidfd.
func Pin(pid selector.PID) (controller.Target, error) {
	handle, err := pidfd.Open(pid)
	if err != nil {
		return nil, err
	}
	return handle, nil
}
