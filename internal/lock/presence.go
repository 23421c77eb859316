// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

const (
	// presenceName is the socket in the run directory.
	presenceName = "served"
	// presenceMode lets every user connect.
	presenceMode = 0o666
	// answerWithin bounds connecting and reading together, and the write of an answer.
	answerWithin = 100 * time.Millisecond
	// answerMost bounds the size of an answer in bytes.
	answerMost = 64 << 10
	// answerEvery is the time between two answers. Clients that connect without a pause use no more of the processor.
	answerEvery = time.Millisecond
)

// Presence is what another process finds of the service that serves the whole host. Other users cannot open the lock of
// that service, because a process that can open a lock can take it. They connect to its socket instead, which the kernel
// closes with the process.
type Presence struct {
	// PID is the service's in the PID namespace of the reader; 0: it is not in there, or not known.
	PID int
	// UID is the user of the service.
	UID uint32
	// Names are those of the servers that it serves; nil: not known.
	Names []string
}

// Serves reports whether the service serves servers of any of names. It is true where that is not known.
func (p Presence) Serves(names []string) bool {
	return p.Names == nil || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(p.Names, name) })
}

// presence is the socket of this process.
type presence struct {
	listener *net.UnixListener
	file     unix.Stat_t
}

// Publish lets every user find that this process serves names on the whole host, until Withdraw or Release. The caller must
// hold the lock on the whole host. A second Publish does nothing.
func (l *Lock) Publish(names []string) error {
	if l.presence.Load() != nil {
		return nil
	}
	answer, err := json.Marshal(append([]string{}, names...))
	if err == nil {
		err = l.listen()
	}
	if err != nil {
		return fmt.Errorf("publish in %q: %w", l.dir.Name(), err)
	}
	go l.presence.Load().answer(answer)
	return nil
}

// listen makes the socket under another name first: one that can be found accepts every user. It replaces the socket of a
// process that was killed.
func (l *Lock) listen() error {
	const next = presenceName + ".new"
	dir := int(l.dir.Fd())
	if err := unix.Unlinkat(dir, next, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	path := filepath.Join(l.dir.Name(), next)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	p := &presence{listener: listener}
	err = os.Chmod(path, presenceMode) // whatever the umask
	if err == nil {
		err = unix.Fstatat(dir, next, &p.file, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil {
		err = unix.Renameat(dir, next, dir, presenceName)
	}
	if err != nil {
		return errors.Join(err, listener.Close(), unix.Unlinkat(dir, next, 0))
	}
	l.presence.Store(p)
	return nil
}

// answer writes the names to each process that connects, until the listener is closed. A short answer fits into the
// buffer of the connection, so a process that does not read it delays nothing.
func (p *presence) answer(text []byte) {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(answerWithin))
			_, _ = conn.Write(text)
			_ = conn.Close()
		}
		time.Sleep(answerEvery)
	}
}

// Withdraw undoes Publish, if that was called. The caller must still hold the lock: after its release the name of the socket
// may belong to the next holder.
func (l *Lock) Withdraw() error {
	p := l.presence.Swap(nil)
	if p == nil {
		return nil
	}
	return errors.Join(unix.Unlinkat(int(l.dir.Fd()), presenceName, 0), p.listener.Close())
}

// Publishes reports whether the socket that is found in dir is that of this lock. A nil Lock publishes nothing. It may be
// called concurrently with each other method.
func (l *Lock) Publishes(dir string) bool {
	if l == nil {
		return false
	}
	var found unix.Stat_t
	p := l.presence.Load()
	return p != nil && unix.Lstat(filepath.Join(dir, presenceName), &found) == nil && found.Dev == p.file.Dev && found.Ino == p.file.Ino
}

// FindPresence looks in dir for a service that serves the whole host. ok is false where none runs, and where the socket
// belongs to another user than root and the user of this process. It takes at most 100 ms.
func FindPresence(dir string) (p Presence, ok bool) {
	path, deadline := filepath.Join(dir, presenceName), time.Now().Add(answerWithin)
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.Dial("unix", path)
	if errors.Is(err, unix.EAGAIN) { // its queue is full, so it lives
		return trustedFile(path)
	}
	if err != nil {
		return Presence{}, false
	}
	defer func() { _ = conn.Close() }()
	peer, err := sys.PeerOf(conn)
	if err != nil || !isTrusted(peer.Uid) {
		return Presence{}, false
	}
	p.PID, p.UID = int(peer.Pid), peer.Uid
	_ = conn.SetDeadline(deadline)
	answer, err := io.ReadAll(io.LimitReader(conn, answerMost))
	if err != nil || json.Unmarshal(answer, &p.Names) != nil {
		p.Names = nil // it lives, and its names are not known
	}
	return p, true
}

// isTrusted reports whether a user can be believed: root, and the user of this process.
func isTrusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// trustedFile is a service with a socket that can be believed. A socket belongs to the user of the process that made it.
func trustedFile(path string) (p Presence, ok bool) {
	var stat unix.Stat_t
	ok = unix.Lstat(path, &stat) == nil && isTrusted(stat.Uid)
	p.UID = stat.Uid
	return p, ok
}
