// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// installs watches the places of a service: those in other roots than our own through the processes
// that live there.
type installs struct {
	hub    *install.Hub
	procfs *procfs.FS
	rights rightsOf
	found  chan controller.Found
	// news says that something is pending.
	news chan struct{}
	// told is called after each look, and does not wait.
	told func()

	mu       sync.Mutex // guards the rest
	watchers map[controller.Place]*install.Watcher
	// pending is what is yet to be told, the latest of each place.
	pending map[controller.Place]selector.Install
	// seen are the processes of each view that is not our own.
	seen map[selector.View]map[selector.Identity]bool
}

// watchInstalls begins to watch. What is found is told until ctx ends.
func watchInstalls(ctx context.Context, procfs *procfs.FS, settle time.Duration) *installs {
	i := &installs{
		hub: install.NewHub(settle), procfs: procfs, found: make(chan controller.Found), news: make(chan struct{}, 1), told: func() {},
		watchers: make(map[controller.Place]*install.Watcher), pending: make(map[controller.Place]selector.Install),
		seen: make(map[selector.View]map[selector.Identity]bool),
	}
	go i.tell(ctx)
	return i
}

func (i *installs) close() { i.hub.Close() }

// serve has the processes that h looks at reach their installs.
func (i *installs) serve(h *host) { h.learn = i.rights.learn }

// watching is how the installs are watched.
func (i *installs) watching() control.Watching {
	s := i.hub.Stats()
	return control.Watching{
		Places: s.Paths, Watches: s.Watches, Polled: s.Polled, Stuck: s.Stuck, Refused: s.Refused, Overflows: s.Overflows,
	}
}

// Watch implements the watcher of [controller.ServiceConfig].
func (i *installs) Watch(p controller.Place) {
	w := i.hub.Watch(i.way(p), func(found selector.Install) { i.put(p, found) })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watchers[p] = w
}

// Forget implements the watcher of [controller.ServiceConfig].
func (i *installs) Forget(p controller.Place) {
	i.mu.Lock()
	w := i.watchers[p]
	delete(i.watchers, p)
	i.mu.Unlock()
	if w != nil {
		w.Close()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pending, p)
}

// Found implements the watcher of [controller.ServiceConfig].
func (i *installs) Found() <-chan controller.Found { return i.found }

// Check implements the watcher of [controller.ServiceConfig].
func (i *installs) Check(p controller.Place) selector.Install {
	i.mu.Lock()
	w := i.watchers[p]
	i.mu.Unlock()
	if w == nil {
		return selector.Install{Path: p.Path, State: selector.StateUnready, Detail: "is not watched"}
	}
	return w.Check()
}

// Sees implements the watcher of [controller.ServiceConfig].
func (i *installs) Sees(v selector.View, id selector.Identity) {
	if v == i.procfs.View() {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.seen[v] == nil {
		i.seen[v] = make(map[selector.Identity]bool)
		i.lookAgain(v)
	}
	i.seen[v][id] = true
}

// lookAgain looks at what could not be seen while nobody lived in a view.
func (i *installs) lookAgain(v selector.View) {
	for p, w := range i.watchers {
		if p.View == v {
			w.Refresh()
		}
	}
}

// Ended implements the watcher of [controller.ServiceConfig].
func (i *installs) Ended(v selector.View, id selector.Identity) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.seen[v], id)
	if len(i.seen[v]) == 0 {
		delete(i.seen, v)
	}
}

func (i *installs) put(p controller.Place, found selector.Install) {
	i.mu.Lock()
	i.pending[p] = found
	i.mu.Unlock()
	i.told()
	select {
	case i.news <- struct{}{}:
	default:
	}
}

func (i *installs) take() (controller.Found, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for p, found := range i.pending {
		delete(i.pending, p)
		return controller.Found{Place: p, Install: found}, true
	}
	return controller.Found{}, false
}

func (i *installs) tell(ctx context.Context) {
	for {
		select {
		case <-i.news:
		case <-ctx.Done():
			return
		}
		for f, ok := i.take(); ok; f, ok = i.take() {
			select {
			case i.found <- f:
			case <-ctx.Done():
				return
			}
		}
	}
}

// way is how to get to a place.
func (i *installs) way(p controller.Place) install.RootedPath {
	way := install.RootedPath{Path: p.Path, Owner: p.Owner}
	if p.View != (selector.View{}) { // else the operator named it
		way.Credentials = func() []selector.Credentials { return i.rights.of(p.Owner) }
	}
	if p.View != (selector.View{}) && p.View != i.procfs.View() {
		way.Root = func() (int, error) { return i.root(p.View) }
	}
	return way
}

var errNobodySees = errors.New("nobody sees it any more")

// root opens the root directory of a view through anybody who has it.
func (i *installs) root(v selector.View) (int, error) {
	i.mu.Lock()
	ids := make([]selector.Identity, 0, len(i.seen[v]))
	for id := range i.seen[v] {
		ids = append(ids, id)
	}
	i.mu.Unlock()
	failure := errNobodySees
	for _, id := range ids {
		fd, err := i.procfs.OpenRoot(id, v)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, selector.ErrGone) {
			failure = fmt.Errorf("open root of %d: %w", id.PID, err)
		}
	}
	return -1, failure
}

// compared compares each process with what it names itself, for commands that look once. It opens no file: an open
// fires the trigger of the servers that watch it.
type compared struct {
	procfs *procfs.FS
	mu     sync.Mutex
	checks map[controller.Place]func() selector.Install
	all    []selector.Install
}

func newCompared(procfs *procfs.FS) *compared {
	return &compared{procfs: procfs, checks: make(map[controller.Place]func() selector.Install)}
}

// Interpreters implements what [controller.Upgrader.Survey] asks: each file is checked in its own root.
func (c *compared) Interpreters() []string { return nil }

// All implements what [controller.Upgrader.Survey] asks.
func (c *compared) All() []selector.Install {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]selector.Install{}, c.all...)
}

// Of implements what [controller.Upgrader.Survey] asks. Each place is looked at once.
func (c *compared) Of(p selector.Process) selector.Install {
	if p.Path == "" {
		return selector.Install{State: selector.StateUnready, Image: p.Target.Image, Detail: "cannot be told from outside"}
	}
	at := controller.Place{View: p.View, Path: p.Path, Owner: p.Credentials.Owner}
	c.mu.Lock()
	check := c.checks[at]
	if check == nil {
		check = sync.OnceValue(func() selector.Install { return c.check(p) })
		c.checks[at] = check
	}
	c.mu.Unlock()
	return check()
}

// Since implements what [controller.Upgrader.Survey] asks: it is one look, which began after nothing was told.
func (c *compared) Since(selector.Process) time.Time { return time.Time{} }

func (c *compared) check(p selector.Process) selector.Install {
	found := install.Stat(wayOf(c.procfs, p))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, found)
	return found
}

// wayOf is how to get to what a process names, with no more rights than it has.
func wayOf(procfs *procfs.FS, p selector.Process) install.RootedPath {
	way := install.RootedPath{
		Path: p.Path, Owner: p.Credentials.Owner,
		Credentials: func() []selector.Credentials { return []selector.Credentials{p.Credentials} },
	}
	if p.View != procfs.View() {
		way.Root = func() (int, error) { return procfs.OpenRoot(p.Identity, p.View) }
	}
	return way
}
