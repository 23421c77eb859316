// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// installs watches the installs of a service: those in other roots than its own through the processes that have these
// roots. Its methods may be called concurrently.
type installs struct {
	hub         *install.Hub
	procfs      *procfs.FS
	credentials credentials
	updates     chan controller.InstallUpdate
	// wake says that something is pending.
	wake chan struct{}
	// onChange is called after each report of the hub. It must not block.
	onChange func()
	// log is told each report; nil: none.
	log *eventLog

	mu       sync.Mutex // guards the rest
	watchers map[registry.Key]*install.Watcher
	// pending is what is not reported yet, the latest of each install.
	pending map[registry.Key]selector.Install
	// members are the processes of each mount view that is not the service's own.
	members map[selector.View]map[selector.Identity]bool
}

// watchInstalls begins to watch, and has every process that h inspects add its credentials. Changes are reported until ctx
// ends. The caller must close what it returns.
func watchInstalls(ctx context.Context, h *Host) *installs {
	i := &installs{
		hub: install.NewHub(h.cfg.Settle), procfs: h.procfs, updates: make(chan controller.InstallUpdate), wake: make(chan struct{}, 1), onChange: func() {},
		watchers: make(map[registry.Key]*install.Watcher), pending: make(map[registry.Key]selector.Install),
		members: make(map[selector.View]map[selector.Identity]bool),
	}
	h.learn = i.credentials.learn
	go i.report(ctx)
	return i
}

func (i *installs) close() { i.hub.Close() }

// watching reads how the installs are watched.
func (i *installs) watching() api.Watching {
	s := i.hub.Stats()
	return api.Watching{
		Installs: s.Paths, Watches: s.Watches, Polled: s.Polled, Stuck: s.Stuck, Refused: s.Refused, Overflows: s.Overflows,
	}
}

// Watch implements [controller.Watcher].
func (i *installs) Watch(p registry.Key) {
	w := i.hub.Watch(i.path(p), func(found selector.Install) { i.put(p, found) })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watchers[p] = w
}

// Forget implements [controller.Watcher].
func (i *installs) Forget(p registry.Key) {
	i.mu.Lock()
	w := i.watchers[p]
	delete(i.watchers, p)
	i.mu.Unlock()
	if w != nil {
		w.Close()
	}
	if i.log != nil {
		i.log.forgot(p)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pending, p)
}

// Updates implements [controller.Watcher].
func (i *installs) Updates() <-chan controller.InstallUpdate { return i.updates }

// Check implements [controller.Watcher].
func (i *installs) Check(p registry.Key) selector.Install { return i.with(p, (*install.Watcher).Check) }

// Refresh implements [controller.Watcher].
func (i *installs) Refresh(p registry.Key) selector.Install {
	return i.with(p, (*install.Watcher).ReportNow)
}

// with inspects an install through its watcher.
func (i *installs) with(p registry.Key, inspect func(*install.Watcher) selector.Install) selector.Install {
	i.mu.Lock()
	w := i.watchers[p]
	i.mu.Unlock()
	if w == nil {
		return selector.Install{Path: p.Path, State: selector.StateUnready, Detail: "is not watched"}
	}
	return inspect(w)
}

// RetainView implements [controller.Watcher].
func (i *installs) RetainView(v selector.View, id selector.Identity) {
	if v == i.procfs.View() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.members[v] == nil {
		i.members[v] = make(map[selector.Identity]bool)
		for p, w := range i.watchers { // they could not be reached while no process had the view
			if p.View == v {
				w.Refresh()
			}
		}
	}
	i.members[v][id] = true
}

// ReleaseView implements [controller.Watcher].
func (i *installs) ReleaseView(v selector.View, id selector.Identity) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.members[v], id)
	if len(i.members[v]) == 0 {
		delete(i.members, v)
	}
}

func (i *installs) put(p registry.Key, found selector.Install) {
	i.mu.Lock()
	i.pending[p] = found
	i.mu.Unlock()
	i.onChange()
	if i.log != nil {
		i.log.installed(p, found)
	}
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *installs) take() (controller.InstallUpdate, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for p, found := range i.pending {
		delete(i.pending, p)
		return controller.InstallUpdate{Key: p, File: found}, true
	}
	return controller.InstallUpdate{}, false
}

func (i *installs) report(ctx context.Context) {
	for {
		select {
		case <-i.wake:
		case <-ctx.Done():
			return
		}
		for f, ok := i.take(); ok; f, ok = i.take() {
			select {
			case i.updates <- f:
			case <-ctx.Done():
				return
			}
		}
	}
}

// path is the path of an install in its root.
func (i *installs) path(p registry.Key) install.RootedPath {
	path := install.RootedPath{Path: p.Path, Owner: p.Owner}
	if p.View != (selector.View{}) { // else the operator named it
		path.Credentials = func() []selector.Credentials { return i.credentials.of(p.Owner) }
	}
	if p.View != (selector.View{}) && p.View != i.procfs.View() {
		path.Root = func() (int, error) { return through(i, p.View, i.procfs.OpenRoot) }
		if p.View.Mounts != i.procfs.View().Mounts {
			path.View = p.View
			path.Mounts = func() (install.MountList, error) { return through(i, p.View, i.openMounts) }
		}
	}
	return path
}

func (i *installs) openMounts(id selector.Identity, v selector.View) (install.MountList, error) {
	info, process, err := i.procfs.OpenMounts(id, v)
	return install.MountList{Info: info, Process: process}, err
}

var errNoMember = errors.New("no process sees it any more")

// through opens something of a mount view through any process that has it.
func through[T any](i *installs, v selector.View, open func(selector.Identity, selector.View) (T, error)) (T, error) {
	i.mu.Lock()
	ids := slices.Collect(maps.Keys(i.members[v]))
	i.mu.Unlock()
	failure := errNoMember
	for _, id := range ids {
		opened, err := open(id, v)
		if err == nil {
			return opened, nil
		}
		if !errors.Is(err, selector.ErrGone) {
			failure = fmt.Errorf("open root of %d: %w", id.PID, err)
		}
	}
	var none T
	return none, failure
}
