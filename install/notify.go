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
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked of a directory on the way: that it stays the one it is, and, where a name in it
// decides where the way leads, what becomes of names. Everything else that happens in these
// directories, some of which are as busy as /tmp, wakes nobody. The file itself is asked for writes,
// which its directory could only report for all its files.
const (
	maskSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	maskNames = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	maskLeaf  = unix.IN_CLOSE_WRITE | unix.IN_ATTRIB
	maskFile  = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_DONT_FOLLOW
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

// notifier says that something may have changed on the way to a file. All but close and the
// counters belongs to one goroutine.
type notifier struct {
	path string   // absolute
	file *os.File // the inotify instance
	buf  []byte
	// names has the names that matter for each watch; "" is what is watched itself.
	names map[int32]map[string]bool
	// blind says that the kernel refused a watch that would tell of changes.
	blind bool

	wakeups, overflows, refused atomic.Uint64
	watches                     atomic.Int64
}

func newNotifier(path string) (*notifier, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("start inotify for %q: %w", path, err)
	}
	return &notifier{
		path:  path,
		file:  os.NewFile(uintptr(fd), "inotify"),
		buf:   make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1)),
		names: make(map[int32]map[string]bool),
	}, nil
}

// absolute does not clean the path as filepath.Abs does: ".." behind a symbolic link is not the
// directory that the link lies in.
func absolute(path string) (string, error) {
	if len(path) > 0 && path[0] == '/' {
		return path, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("make %q absolute: %w", path, err)
	}
	return wd + "/" + path, nil
}

// close also ends a next that waits.
func (n *notifier) close() error { return n.file.Close() }

// follows bounds how often the way is walked again when it changes while it is walked. One that
// changes faster is caught by its own events.
const follows = 8

// follow puts the watches where the way leads now. It watches first and looks then whether the way
// is still the same, so that no change falls between the two. What the caller reads of the file, it
// reads after that.
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

func (n *notifier) watch(points map[string]*point) {
	// Control keeps close from giving the descriptor's number to another file meanwhile.
	raw, err := n.file.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n.watchOn(int(fd), points) }) // fails only after close
	}
}

// watchOn replaces the watches. Adding one that is there gives the same number again, with the new
// mask, so that a directory which no longer matters as much stops to wake us. Through a bind mount
// two paths may lead to one directory; the kernel has one watch for both, which gets the masks of
// both.
func (n *notifier) watchOn(fd int, points map[string]*point) {
	n.blind = false
	names := make(map[int32]map[string]bool, len(points))
	masks := make(map[int32]uint32, len(points))
	for path, p := range points {
		wd, err := n.add(fd, path, p)
		if err != nil {
			continue
		}
		if masks[wd] |= p.mask(); masks[wd] != p.mask() {
			_, _ = unix.InotifyAddWatch(fd, path, masks[wd]) // it was there a moment ago; if not, that is an event
		}
		if names[wd] == nil {
			names[wd] = make(map[string]bool)
		}
		maps.Copy(names[wd], p.names)
	}
	for wd := range n.names {
		if names[wd] == nil {
			_, _ = unix.InotifyRmWatch(fd, uint32(wd)) // gone already, or now
		}
	}
	n.names = names
	n.watches.Store(int64(len(names)))
}

// add counts a refusal. What is not there any more is no refusal, the next walk finds that; nor is
// it one that we may search a directory and not read it, as long as no name in it matters: whether
// /home is renamed can wait for the regular look.
func (n *notifier) add(fd int, path string, p *point) (int32, error) {
	wd, err := unix.InotifyAddWatch(fd, path, p.mask())
	switch {
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
	case errors.Is(err, unix.EACCES) && len(p.names) == 0:
	default:
		n.blind = true
		n.refused.Add(1)
	}
	return int32(wd), err
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
	n.wakeups.Add(1)
	for events := n.buf[:got]; len(events) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:length], []byte{0})
		relevant = n.matters(wd, mask, string(name)) || relevant
		events = events[length:]
	}
	return relevant, nil
}

// matters leaves out events of watches that were given up, and of names that nobody asked for.
func (n *notifier) matters(wd int32, mask uint32, name string) bool {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		n.overflows.Add(1)
		return true
	}
	names, watched := n.names[wd]
	return watched && (mask&maskAlways != 0 || names[name])
}
