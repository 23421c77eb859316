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

// What is asked of a directory on the way: that it stays the one it is, and, where a name in it
// decides where the way leads, what becomes of names. Everything else that happens in these
// directories, some of which are as busy as /tmp, wakes nobody. The file itself is asked for writes,
// which its directory could only report for all its files.
const (
	maskSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	maskNames = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	maskLeaf  = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	maskFile  = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	// maskAlways are events that say that something about the watches themselves is over.
	maskAlways = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
)

func (p *point) mask() uint32 {
	switch {
	case p.file:
		return maskFile
	case p.leaf:
		return maskSelf | maskNames | maskLeaf
	case len(p.names) > 0:
		return maskSelf | maskNames
	}
	return maskSelf
}

const (
	// queue holds all that the kernel has room for as a rule: 16,384 events (max_queued_events), each
	// with a short name.
	queue = 16384 * (unix.SizeofInotifyEvent + 16)
	// breath is the time between two reads, in which events gather: a directory that is written to
	// without end costs a wake-up each, not one for each name.
	breath = 5 * time.Millisecond
	// overflowPause is the time between two looks at everything because events were lost.
	overflowPause = 250 * time.Millisecond
	// orphanage is how long a watch that nobody needs is kept. Somebody who is adding the same one has
	// the number of it from the kernel, and not yet said so here.
	orphanage = 2 * time.Second
)

// listener is who wants to hear that something may have changed on its way. Its methods are called with
// the notifier's lock held.
type listener interface {
	heard()
	// bereft is heard where one of the watches has gone, too.
	bereft()
}

// spot is one watch of the kernel, which has one for each inode, whoever passes there. Its mask only
// grows: one that has become too large costs some wake-ups until the last who needs it goes.
type spot struct {
	users map[listener]map[string]bool
	// names has who wants to hear of a name; "" is the spot itself.
	names map[string]map[listener]bool
	// orphan is since when nobody needs it.
	orphan time.Time
}

// notifier is one inotify instance for all ways. It is safe for concurrent use.
type notifier struct {
	file *os.File // nil where the kernel gives none

	mu     sync.Mutex // guards the rest; no file system is asked for anything with it held
	spots  map[int32]*spot
	all    map[listener]map[int32]bool
	sweeps bool // one is to come
	ended  endings

	// overflowed is when that was told last. It belongs to the reader.
	overflowed time.Time

	wakeups, overflows, refused atomic.Uint64
}

// newNotifier has no watches where there is no instance to be had: the limit for a user is 128 as a
// rule (max_user_instances).
func newNotifier() *notifier {
	n := &notifier{spots: make(map[int32]*spot), all: make(map[listener]map[int32]bool)}
	if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err == nil {
		n.file = os.NewFile(uintptr(fd), "inotify")
	}
	return n
}

var errNoInstance = errors.New("no inotify instance")

// add watches what fd leads to, as well as whatever is watched of it already. It blocks when the file
// system does, which is asked whether we may read there.
func (n *notifier) add(fd int, mask uint32) (int32, error) {
	if n.file == nil {
		return 0, errNoInstance
	}
	raw, err := n.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	wd := 0
	// Control keeps close from giving the descriptor's number to another file meanwhile.
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

// begin is what hold has to be given by who adds watches from now on.
func (n *notifier) begin() (began uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ended.count
}

// hold replaces what l hears of by the names of the watches held. It fails when one of them has ended since
// they began to be added: it may be one that nobody needed until then, and was just given up.
func (n *notifier) hold(l listener, held map[int32]map[string]bool, began uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended.any(held, began) {
		for wd := range held {
			n.orphan(n.spot(wd))
		}
		return false
	}
	before := n.all[l]
	n.all[l] = make(map[int32]bool, len(held))
	for wd, names := range held {
		n.join(l, wd, names)
		delete(before, wd)
	}
	for wd := range before {
		n.leave(l, wd)
	}
	return true
}

// drop ends what l hears of.
func (n *notifier) drop(l listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wd := range n.all[l] {
		n.leave(l, wd)
	}
	delete(n.all, l)
}

func (n *notifier) spot(wd int32) *spot {
	s := n.spots[wd]
	if s == nil {
		s = &spot{users: make(map[listener]map[string]bool), names: make(map[string]map[listener]bool)}
		n.spots[wd] = s
	}
	return s
}

func (n *notifier) join(l listener, wd int32, names map[string]bool) {
	s := n.spot(wd)
	s.forget(l)
	s.users[l] = names
	for name := range names {
		if s.names[name] == nil {
			s.names[name] = make(map[listener]bool)
		}
		s.names[name][l] = true
	}
	s.orphan = time.Time{}
	n.all[l][wd] = true
}

func (n *notifier) leave(l listener, wd int32) {
	if s := n.spots[wd]; s != nil {
		s.forget(l)
		n.orphan(s)
	}
}

func (s *spot) forget(l listener) {
	for name := range s.users[l] {
		if delete(s.names[name], l); len(s.names[name]) == 0 {
			delete(s.names, name)
		}
	}
	delete(s.users, l)
}

// orphan has a watch that nobody needs given up later.
func (n *notifier) orphan(s *spot) {
	if len(s.users) > 0 {
		return
	}
	if s.orphan.IsZero() {
		s.orphan = time.Now()
	}
	if !n.sweeps {
		n.sweeps = true
		time.AfterFunc(orphanage, n.sweep)
	}
}

func (n *notifier) sweep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweeps = false
	for wd, s := range n.spots {
		switch {
		case len(s.users) > 0:
		case time.Since(s.orphan) >= orphanage:
			delete(n.spots, wd)
			n.ended.note(wd)
			n.remove(wd)
		case !n.sweeps:
			n.sweeps = true
			time.AfterFunc(orphanage, n.sweep)
		}
	}
}

func (n *notifier) remove(wd int32) {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(own uintptr) {
		_, _ = unix.InotifyRmWatch(int(own), uint32(wd)) // gone already, or now
	})
}

// watches is how many of them are needed.
func (n *notifier) watches() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	needed := 0
	for _, s := range n.spots {
		if len(s.users) > 0 {
			needed++
		}
	}
	return needed
}

// close ends read. It does not wait for a file system that was being asked whether it may be watched.
func (n *notifier) close() {
	if n.file == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = n.file.Close()
	}()
	sys.WaitFor(closed, answerWithin)
}
