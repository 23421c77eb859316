// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

const (
	// readBufferSize holds all events that the kernel queues by default: 16,384 (max_queued_events), each with a short name.
	readBufferSize = 16384 * (unix.SizeofInotifyEvent + 16)
	// coalesceDelay is the time between two reads. A directory that is written to without a pause then causes one wake-up each
	// time, not one for each name.
	coalesceDelay = 5 * time.Millisecond
	// overflowInterval is the minimum time between two checks of all paths after lost events.
	overflowInterval = 250 * time.Millisecond
	// maxAdds bounds how often a watch is added while others are removed.
	maxAdds = 8
	// unusedTTL is how long an unused watch is kept: the Watcher that added it subscribes after the walk of its path.
	unusedTTL = 2 * time.Second
)

// subscription is a name in a watched directory; "" stands for a watched file, and for a directory without names that matter.
type subscription struct {
	wd   int32
	name string
}

// kernelWatch is one inotify watch. The kernel has one for each inode, for all paths. Its mask only grows: a mask that is too
// large causes wake-ups until the watch is removed.
type kernelWatch struct {
	names map[string]map[*Watcher]bool // the listeners by name
	// payer is the user for which the watch counts.
	payer selector.User
	// unusedSince is when it was last added, or the last listener unsubscribed.
	unusedSince time.Time
}

// notifier is one inotify instance for all paths. It is safe for concurrent use.
type notifier struct {
	file   *os.File // nil if the kernel has refused an instance
	limits limits

	mu             sync.Mutex // guards the rest; never held during a call that a file system may block
	watches        map[int32]*kernelWatch
	perUser        map[selector.User]int
	subscriptions  map[*Watcher][]subscription
	sweepScheduled bool
	// removals counts the times that watches were removed, by the kernel or by the notifier.
	removals uint64

	// lastOverflow is when the listeners were last woken for an overflow. Only read uses it.
	lastOverflow time.Time

	wakeups, overflows, refused atomic.Uint64
}

// newNotifier returns a notifier. It has no instance if the kernel refuses one: the default limit for a user is 128
// (max_user_instances).
func newNotifier(most limits) *notifier {
	n := &notifier{
		limits: most, watches: make(map[int32]*kernelWatch), perUser: make(map[selector.User]int),
		subscriptions: make(map[*Watcher][]subscription),
	}
	if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err == nil {
		n.file = os.NewFile(uintptr(fd), "inotify")
	}
	return n
}

var (
	errNoInstance = errors.New("no inotify instance")
	errNoRoom     = errors.New("too many watches")
	errRemoved    = errors.New("the watch was removed")
)

// add watches the file of fd for a user, and extends the mask of an existing watch. It fails with errNoRoom at the limit.
func (n *notifier) add(user selector.User, fd int, mask uint32) (int32, error) {
	if n.file == nil {
		return 0, errNoInstance
	}
	for range maxAdds {
		before := n.countRemovals()
		wd, err := n.addToKernel(fd, mask)
		if err != nil {
			return 0, err
		}
		if err = n.register(wd, user, before); !errors.Is(err, errRemoved) {
			return wd, err
		}
	}
	return 0, errRemoved
}

// addToKernel blocks when the file system does, because the kernel checks the permission to read.
func (n *notifier) addToKernel(fd int, mask uint32) (int32, error) {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	wd := 0
	// Control keeps close from giving the number of the descriptor to another file meanwhile.
	controlled := raw.Control(func(own uintptr) {
		wd, err = unix.InotifyAddWatch(int(own), reopen(fd), mask|unix.IN_MASK_ADD)
	})
	return int32(wd), errors.Join(controlled, err)
}

func (n *notifier) countRemovals() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removals
}

// register takes in a watch. It fails with errRemoved if any watch was removed since before, as this one may be: the kernel
// returns the descriptor of an existing watch, which can end before register has the lock.
func (n *notifier) register(wd int32, user selector.User, before uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	watch := n.watches[wd]
	if watch == nil {
		if len(n.watches) >= n.limits.all || n.perUser[user] >= n.limits.user {
			n.remove(wd)
			return errNoRoom
		}
		watch = &kernelWatch{names: make(map[string]map[*Watcher]bool, 1), payer: user}
		n.watches[wd] = watch
		n.perUser[user]++
	}
	if len(watch.names) == 0 {
		n.markUnused(watch)
	}
	if n.removals != before {
		return errRemoved
	}
	return nil
}

// replace replaces the subscriptions of l. A watch that was removed meanwhile is reported as lost.
func (n *notifier) replace(l *Watcher, subscriptions []subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.subscriptions[l]
	n.subscriptions[l] = subscriptions
	for _, s := range subscriptions {
		watch := n.watches[s.wd]
		if watch == nil {
			l.onWatchLost()
			continue
		}
		if watch.names[s.name] == nil {
			watch.names[s.name] = make(map[*Watcher]bool, 1)
		}
		watch.names[s.name][l] = true
	}
	for _, s := range before {
		if !slices.Contains(subscriptions, s) {
			n.unsubscribe(l, s)
		}
	}
}

// drop ends all subscriptions of l.
func (n *notifier) drop(l *Watcher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.subscriptions[l] {
		n.unsubscribe(l, s)
	}
	delete(n.subscriptions, l)
}

func (n *notifier) unsubscribe(l *Watcher, s subscription) {
	watch := n.watches[s.wd]
	if watch == nil || !watch.names[s.name][l] {
		return
	}
	if delete(watch.names[s.name], l); len(watch.names[s.name]) == 0 {
		delete(watch.names, s.name)
	}
	if len(watch.names) == 0 {
		n.markUnused(watch)
	} else if watch.payer == l.path.Owner {
		n.charge(watch)
	}
}

// charge has a watch count for the user of any of its listeners.
func (n *notifier) charge(watch *kernelWatch) {
	for _, named := range watch.names {
		for l := range named {
			n.perUser[l.path.Owner]++
			n.release(watch.payer)
			watch.payer = l.path.Owner
			return
		}
	}
}

func (n *notifier) release(user selector.User) {
	if n.perUser[user]--; n.perUser[user] == 0 {
		delete(n.perUser, user)
	}
}

// markUnused has an unused watch removed after unusedTTL.
func (n *notifier) markUnused(watch *kernelWatch) {
	watch.unusedSince = time.Now()
	n.scheduleSweep()
}

func (n *notifier) scheduleSweep() {
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
		case len(watch.names) > 0:
		case time.Since(watch.unusedSince) >= unusedTTL:
			n.remove(wd)
		default:
			n.scheduleSweep()
		}
	}
}

// remove ends a watch in the kernel, which need not be registered.
func (n *notifier) remove(wd int32) {
	n.forget(wd)
	raw, err := n.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(own uintptr) {
		_, _ = unix.InotifyRmWatch(int(own), uint32(wd)) // an error means that it is gone
	})
}

// forget removes a watch that the kernel has removed, or is about to.
func (n *notifier) forget(wd int32) {
	n.removals++
	if watch := n.watches[wd]; watch != nil {
		delete(n.watches, wd)
		n.release(watch.payer)
	}
}

// countWatches returns the number of watches in use.
func (n *notifier) countWatches() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	needed := 0
	for _, watch := range n.watches {
		if len(watch.names) > 0 {
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
