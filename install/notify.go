// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked of a directory on the way: that it stays the one it is, and, where a name in it
// decides where the way leads, what becomes of names. Everything else that happens in these
// directories, some of which are as busy as /tmp, wakes nobody. Masks are added up, because two
// paths may lead to one directory, and the kernel has one watch for both.
const (
	maskSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_MASK_ADD
	maskNames = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	maskLeaf  = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	// maskAlways are events that say that something about the watches themselves is over.
	maskAlways = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT | unix.IN_Q_OVERFLOW
)

// notifier says that something may have changed on the way to a file. All but close belongs to one
// goroutine.
type notifier struct {
	path string
	file *os.File // the inotify instance
	buf  []byte
	// names has the names that matter for each watch.
	names map[int32]map[string]bool
	// short says that the kernel refused a watch for want of room.
	short bool
}

func newNotifier(path string) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch %q: start inotify: %w", path, err)
	}
	return &notifier{
		path:  path,
		file:  os.NewFile(uintptr(fd), "inotify"),
		buf:   make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1)),
		names: make(map[int32]map[string]bool),
	}, nil
}

// close also ends a next that waits.
func (n *notifier) close() error { return n.file.Close() }

// follows bounds how often the way is walked again when it changes while it is walked. One that
// changes faster is caught by its own events.
const follows = 8

// follow puts the watches where the way leads now. It watches first and looks then whether the way
// is still the same, so that no change falls between the two.
func (n *notifier) follow() {
	points := chain(n.path)
	for range follows {
		n.watch(points)
		again := chain(n.path)
		if reflect.DeepEqual(points, again) {
			return
		}
		points = again
	}
}

// watch replaces the watches. Adding one that is there gives the same number again.
func (n *notifier) watch(points map[string]*point) {
	// Control keeps close from giving the descriptor's number to another file meanwhile.
	raw, err := n.file.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n.watchOn(int(fd), points) }) // fails only after close
	}
}

func (n *notifier) watchOn(fd int, points map[string]*point) {
	n.short = false
	names := make(map[int32]map[string]bool, len(points))
	for dir, p := range points {
		mask := uint32(maskSelf)
		if len(p.names) > 0 {
			mask |= maskNames
		}
		if p.leaf {
			mask |= maskLeaf
		}
		wd, err := unix.InotifyAddWatch(fd, dir, mask)
		if err != nil {
			// Gone, which the next walk finds, or unreadable for us, which leaves the regular look.
			n.short = n.short || errors.Is(err, unix.ENOSPC)
			continue
		}
		if names[int32(wd)] == nil {
			names[int32(wd)] = make(map[string]bool)
		}
		maps.Copy(names[int32(wd)], p.names)
	}
	for wd := range n.names {
		if names[wd] == nil {
			_, _ = unix.InotifyRmWatch(fd, uint32(wd)) // gone already, or now
		}
	}
	n.names = names
}

// next waits until something happens on the way, and reports whether it matters. It fails with
// [os.ErrDeadlineExceeded] at the deadline and with [os.ErrClosed] after close.
func (n *notifier) next(deadline time.Time) (relevant bool, err error) {
	if err := n.file.SetReadDeadline(deadline); err != nil {
		return false, err
	}
	got, err := n.file.Read(n.buf)
	if err != nil {
		return false, err
	}
	for events := n.buf[:got]; len(events) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:length], []byte{0})
		relevant = relevant || n.matters(wd, mask, string(name))
		events = events[length:]
	}
	return relevant, nil
}

// matters leaves out events of watches that were given up, and of names that nobody asked for.
func (n *notifier) matters(wd int32, mask uint32, name string) bool {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return true
	}
	names, watched := n.names[wd]
	return watched && (mask&maskAlways != 0 || names[name])
}
