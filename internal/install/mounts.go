// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// mountsInterval is the minimum time between two checks of the paths of a view after its mounts have changed.
const mountsInterval = time.Second

// MountList is the list of the mounts of a view, opened through a process that has it. The kernel keeps its namespace and
// the root until it is closed.
type MountList struct {
	// Info is a descriptor of /proc/PID/mountinfo, and Process a pidfd of PID.
	Info, Process int
}

// mountWatcher calls changed when the mounts of a view change. It is safe for concurrent use.
type mountWatcher struct {
	changed func(selector.View)
	limits  limits

	mu      sync.Mutex // guards the rest
	paths   map[selector.View]int
	lists   map[selector.View]*openList
	perUser map[selector.User]int
}

// openList is the open list of a view. A list counts for the user that it was opened for.
type openList struct {
	payer         selector.User
	info, process *os.File // nil while it is opened; this process has no pidfd
	stop          chan struct{}
}

func newMountWatcher(most limits, changed func(selector.View)) *mountWatcher {
	return &mountWatcher{
		changed: changed, limits: most, paths: make(map[selector.View]int),
		lists: make(map[selector.View]*openList), perUser: make(map[selector.User]int),
	}
}

// watchOwn watches the namespace of this process.
func (m *mountWatcher) watchOwn() {
	if info, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		l := &openList{stop: make(chan struct{})}
		m.lists[selector.View{}] = l
		m.start(selector.View{}, l, MountList{Info: info, Process: -1})
	}
}

// retain counts a path. The caller must release it.
func (m *mountWatcher) retain(p RootedPath) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths[p.View]++
}

func (m *mountWatcher) release(p RootedPath) {
	m.mu.Lock()
	m.paths[p.View]--
	last := m.paths[p.View] == 0
	if last {
		delete(m.paths, p.View)
	}
	m.mu.Unlock()
	if last && p.Mounts != nil {
		m.end(p)
	}
}

// follow watches the view of a path, unless it is watched or a limit is reached. The path is checked after that.
func (m *mountWatcher) follow(p RootedPath) {
	if p.Mounts == nil {
		return
	}
	l := m.reserve(p)
	if l == nil {
		return
	}
	opened, err := p.Mounts()
	if err != nil {
		m.endList(p.View, l)
		return
	}
	m.start(p.View, l, opened)
}

// reserve returns a new list, or nil.
func (m *mountWatcher) reserve(p RootedPath) *openList {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lists[p.View] != nil || m.paths[p.View] == 0 || len(m.lists) >= m.limits.all || m.perUser[p.Owner] >= m.limits.user {
		return nil
	}
	l := &openList{payer: p.Owner, stop: make(chan struct{})}
	m.lists[p.View] = l
	m.perUser[p.Owner]++
	return l
}

// start takes over the descriptors.
func (m *mountWatcher) start(v selector.View, l *openList, opened MountList) {
	info, process := pollable(opened.Info), pollable(opened.Process)
	m.mu.Lock()
	ended := m.lists[v] != l
	l.info, l.process = info, process
	m.mu.Unlock()
	if ended {
		l.close()
		return
	}
	go l.follow(func() { m.changed(v) })
	go func() {
		if l.awaitEnd() && m.endList(v, l) {
			m.changed(v)
		}
	}()
}

// pollable returns a file that the Go runtime polls; nil for no descriptor.
func pollable(fd int) *os.File {
	if fd < 0 {
		return nil
	}
	_ = unix.SetNonblock(fd, true) // os.NewFile polls such a file only; an error means that no change is noticed
	return os.NewFile(uintptr(fd), "")
}

// follow calls changed for each change until the list is closed, and once or twice in the beginning.
//
// A wake-up by the kernel is a change (touch_mnt_namespace in fs/namespace.c, Linux 6.18). poll does not tell: the kernel reports
// a change to the first poller of an open file, which is the Go runtime. What comes before the first call of Read is forgotten,
// hence the call of changed in the beginning.
func (l *openList) follow(changed func()) {
	raw, err := l.info.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(uintptr) (end bool) {
		changed()
		return sys.WaitFor(l.stop, mountsInterval)
	})
}

// awaitEnd reports whether the process has ended. It returns false when the list is closed before.
func (l *openList) awaitEnd() bool {
	raw, err := l.process.SyscallConn() // an error for nil
	return err == nil && raw.Read(func(fd uintptr) (ended bool) { return sys.HasEnded(int(fd)) }) == nil
}

// end ends the watch of the view of a path.
func (m *mountWatcher) end(p RootedPath) {
	m.mu.Lock()
	l := m.lists[p.View]
	m.mu.Unlock()
	if l != nil {
		m.endList(p.View, l)
	}
}

// endList closes a list, so that the kernel can free the namespace. It reports false if another call did.
func (m *mountWatcher) endList(v selector.View, l *openList) bool {
	m.mu.Lock()
	if m.lists[v] != l {
		m.mu.Unlock()
		return false
	}
	delete(m.lists, v)
	if m.perUser[l.payer]--; m.perUser[l.payer] == 0 {
		delete(m.perUser, l.payer)
	}
	started := l.info != nil
	m.mu.Unlock()
	if started {
		l.close()
	}
	return true
}

func (l *openList) close() {
	close(l.stop)
	_ = l.info.Close()
	_ = l.process.Close() // an error for nil
}

func (m *mountWatcher) close() {
	m.mu.Lock()
	all := maps.Clone(m.lists)
	m.limits = limits{} // none is opened any more
	m.mu.Unlock()
	for v, l := range all {
		m.endList(v, l)
	}
}
