// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

// Event masks. A directory of the path is watched for its own removal. If a name in it decides where the path leads, names
// are watched, too. Other events, as in a busy directory such as /tmp, cause no wake-up. The file itself is watched for
// writes, which its directory could report for all files only.
const (
	maskSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	maskNames = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	maskEnd   = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	maskFile  = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	// maskAlways has the events about a watch itself.
	maskAlways = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
)

func (p *watchPoint) mask() uint32 {
	switch {
	case p.isEnd:
		return maskFile
	case p.hasEnd:
		return maskSelf | maskNames | maskEnd
	case len(p.names) > 0:
		return maskSelf | maskNames
	}
	return maskSelf
}

const (
	// readBufferSize holds all events that the kernel queues by default: 16,384 (max_queued_events), each with a short name.
	readBufferSize = 16384 * (unix.SizeofInotifyEvent + 16)
	// coalesceDelay is the time between two reads. A directory that is written to without a pause then causes one wake-up each
	// time, not one for each name.
	coalesceDelay = 5 * time.Millisecond
	// overflowInterval is the minimum time between two checks of all paths after lost events.
	overflowInterval = 250 * time.Millisecond
	// unusedTTL is how long an unused watch is kept. Another goroutine may already have its descriptor from inotify_add_watch, and
	// not have subscribed yet.
	unusedTTL = 2 * time.Second
)

// listener is notified of changes on its path. Its methods are called with the lock of the notifier held.
type listener interface {
	onChange()
	// onWatchLost replaces onChange if the kernel has removed one of the watches.
	onWatchLost()
}

// watchedNames has the names that a listener subscribes to, by watch descriptor.
type watchedNames map[int32]map[string]bool

// kernelWatch is one inotify watch. The kernel has one for each inode, for all paths. Its mask only grows: a mask that is too
// large causes wake-ups until the watch is removed.
type kernelWatch struct {
	listeners map[listener]map[string]bool
	// names has the listeners by name; "" is the watched file itself.
	names map[string]map[listener]bool
	// unusedSince is when the last listener unsubscribed.
	unusedSince time.Time
}

// notifier is one inotify instance for all paths. It is safe for concurrent use.
type notifier struct {
	file *os.File // nil if the kernel has refused an instance

	mu             sync.Mutex // guards the rest; never held during a call that a file system may block
	watches        map[int32]*kernelWatch
	subscriptions  map[listener]map[int32]bool
	sweepScheduled bool
	removed        removedWDs

	// lastOverflow is when the listeners were last woken for an overflow. Only read uses it.
	lastOverflow time.Time

	wakeups, overflows, refused atomic.Uint64
}

// newNotifier returns a notifier. It has no instance if the kernel refuses one: the default limit for a user is 128
// (max_user_instances).
func newNotifier() *notifier {
	n := &notifier{watches: make(map[int32]*kernelWatch), subscriptions: make(map[listener]map[int32]bool)}
	if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err == nil {
		n.file = os.NewFile(uintptr(fd), "inotify")
	}
	return n
}

var errNoInstance = errors.New("no inotify instance")

// add watches the file of fd, and extends the mask of an existing watch. It blocks when the file system does, because the
// kernel checks the permission to read.
func (n *notifier) add(fd int, mask uint32) (int32, error) {
	if n.file == nil {
		return 0, errNoInstance
	}
	raw, err := n.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	wd := 0
	// Control keeps close from giving the number of the descriptor to another file meanwhile.
	controlled := raw.Control(func(own uintptr) {
		wd, err = unix.InotifyAddWatch(int(own), reopen(fd), mask|unix.IN_MASK_ADD)
	})
	if controlled != nil {
		return 0, controlled
	}
	if err != nil {
		return 0, fmt.Errorf("watch: %w", err)
	}
	return int32(wd), nil
}

// generation returns a number for replace. Call it before adding watches.
func (n *notifier) generation() (generation uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removed.count
}

// replace replaces the subscriptions of l by the names in wds. It fails if one of these watches was removed since generation
// was called: it may have been unused until then.
func (n *notifier) replace(l listener, wds watchedNames, generation uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.removed.containsAny(wds, generation) {
		for wd := range wds {
			n.markUnused(n.watchFor(wd))
		}
		return false
	}
	before := n.subscriptions[l]
	n.subscriptions[l] = make(map[int32]bool, len(wds))
	for wd, names := range wds {
		n.subscribe(l, wd, names)
		delete(before, wd)
	}
	for wd := range before {
		n.unsubscribe(l, wd)
	}
	return true
}

// drop ends all subscriptions of l.
func (n *notifier) drop(l listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wd := range n.subscriptions[l] {
		n.unsubscribe(l, wd)
	}
	delete(n.subscriptions, l)
}

func (n *notifier) watchFor(wd int32) *kernelWatch {
	watch := n.watches[wd]
	if watch == nil {
		watch = &kernelWatch{listeners: make(map[listener]map[string]bool), names: make(map[string]map[listener]bool)}
		n.watches[wd] = watch
	}
	return watch
}

func (n *notifier) subscribe(l listener, wd int32, names map[string]bool) {
	watch := n.watchFor(wd)
	watch.forget(l)
	watch.listeners[l] = names
	for name := range names {
		if watch.names[name] == nil {
			watch.names[name] = make(map[listener]bool)
		}
		watch.names[name][l] = true
	}
	watch.unusedSince = time.Time{}
	n.subscriptions[l][wd] = true
}

func (n *notifier) unsubscribe(l listener, wd int32) {
	if watch := n.watches[wd]; watch != nil {
		watch.forget(l)
		n.markUnused(watch)
	}
}

func (watch *kernelWatch) forget(l listener) {
	for name := range watch.listeners[l] {
		if delete(watch.names[name], l); len(watch.names[name]) == 0 {
			delete(watch.names, name)
		}
	}
	delete(watch.listeners, l)
}

// markUnused has an unused watch removed after unusedTTL.
func (n *notifier) markUnused(watch *kernelWatch) {
	if len(watch.listeners) > 0 {
		return
	}
	if watch.unusedSince.IsZero() {
		watch.unusedSince = time.Now()
	}
	if !n.sweepScheduled {
		n.sweepScheduled = true
		time.AfterFunc(unusedTTL, n.sweep)
	}
}

func (n *notifier) sweep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweepScheduled = false
	for wd, watch := range n.watches {
		switch {
		case len(watch.listeners) > 0:
		case time.Since(watch.unusedSince) >= unusedTTL:
			delete(n.watches, wd)
			n.removed.add(wd)
			n.remove(wd)
		case !n.sweepScheduled:
			n.sweepScheduled = true
			time.AfterFunc(unusedTTL, n.sweep)
		}
	}
}

func (n *notifier) remove(wd int32) {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(own uintptr) {
		_, _ = unix.InotifyRmWatch(int(own), uint32(wd)) // an error means that it is gone
	})
}

// countWatches returns the number of watches in use.
func (n *notifier) countWatches() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	needed := 0
	for _, watch := range n.watches {
		if len(watch.listeners) > 0 {
			needed++
		}
	}
	return needed
}

// close ends read. It does not wait for a file system that blocks add.
func (n *notifier) close() {
	if n.file == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = n.file.Close()
	}()
	sys.WaitFor(closed, fileTimeout)
}
