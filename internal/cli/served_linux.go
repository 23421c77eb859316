// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/lock"
	"ebpf-upgrader/selector"
)

// signFolders are where a service of the whole host says that it runs: where root's has its locks, and the same
// as the first process sees it, which differs in a container that has no PID namespace of its own. Who may not
// look there sees the first only.
func signFolders() []string {
	folder := filepath.Join("/run", ownFolder)
	return []string{folder, filepath.Join("/proc/1/root", folder)}
}

// announce says in the open that the whole host is served. Where somebody is left out, others may serve him.
func (a *app) announce(held *lock.Lock) {
	s := a.opts.selection
	if len(a.opts.installPaths) > 0 || len(s.Users)+len(s.Containers) > 0 || s.NoContainers {
		return
	}
	if err := held.Announce(a.opts.names); err != nil {
		a.log.Warn("other users' services do not see this one", "because", err)
	}
}

// servedAlready says who else signals the servers that this process would. The locks do not, where that is
// another user, whom nobody lets open his.
func (a *app) servedAlready() error {
	for _, dir := range signFolders() {
		sign, ok := lock.Announced(dir)
		if ok && sign.PID != os.Getpid() && sign.Shares(a.opts.names) {
			return fmt.Errorf("process %d serves the whole host, and so these servers, too: leave them to that, or stop it first", sign.PID)
		}
	}
	return nil
}

// pin pins a process that is to be signalled. A service of the whole host may have come since this one began:
// as long as it runs, nobody is asked from here.
func (a *app) pin(pid selector.PID) (controller.Target, error) {
	if err := a.servedAlready(); err != nil {
		return nil, err
	}
	return pin(pid)
}
