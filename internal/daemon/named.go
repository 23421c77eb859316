// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// NamedInstalls compares each process with the file that it names itself, for commands that make one survey. Each install
// is checked once. It opens no file: an open fires the trigger of the servers that watch it. Its methods may be called
// concurrently.
type NamedInstalls struct {
	procfs *procfs.FS
	mu     sync.Mutex
	checks map[registry.Key]func() selector.Install
	all    []selector.Install
}

// NamedInstalls returns the installs that processes of h name. They are valid until h is closed.
func (h *Host) NamedInstalls() *NamedInstalls {
	return &NamedInstalls{procfs: h.procfs, checks: make(map[registry.Key]func() selector.Install)}
}

// Interpreters implements [deliver.Resolver]: each file is checked in its own root.
func (n *NamedInstalls) Interpreters() []string { return nil }

// All are the installs that were checked.
func (n *NamedInstalls) All() []selector.Install {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]selector.Install{}, n.all...)
}

// Of implements [deliver.Resolver].
func (n *NamedInstalls) Of(p selector.Process) selector.Install {
	if p.Path == "" {
		return selector.Install{State: selector.StateUnready, Image: p.Target.Image, Detail: "cannot be told from outside"}
	}
	at := registry.Key{View: p.View, Path: p.Path, Owner: p.Credentials.Owner}
	n.mu.Lock()
	check := n.checks[at]
	if check == nil {
		check = sync.OnceValue(func() selector.Install { return n.check(p) })
		n.checks[at] = check
	}
	n.mu.Unlock()
	return check()
}

// Since implements [deliver.Resolver]: a survey has no earlier report.
func (n *NamedInstalls) Since(selector.Process) time.Time { return time.Time{} }

// check reaches the file with the rights of the process.
func (n *NamedInstalls) check(p selector.Process) selector.Install {
	path := install.RootedPath{
		Path: p.Path, Owner: p.Credentials.Owner,
		Credentials: func() []selector.Credentials { return []selector.Credentials{p.Credentials} },
	}
	if p.View != n.procfs.View() {
		path.Root = func() (int, error) { return n.procfs.OpenRoot(p.Identity, p.View) }
	}
	found := install.Stat(path)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, found)
	return found
}
