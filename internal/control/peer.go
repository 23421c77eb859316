// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

// role is what a client may do.
type role uint8

const (
	// noRole: the user of the client is not known, so that the client may do nothing.
	noRole role = iota
	// user: it may read about and control the servers of its own user.
	user
	// reader: it may read about all servers, and control those of its own user.
	reader
	// operator: it may do everything.
	operator
)

// peer is the process at the other end of a connection, with the credentials that the kernel recorded when it connected
// (unix_listen and init_peercred in net/unix/af_unix.c).
type peer struct {
	role role
	uid  uint32
	pid  int32
}

// scope says which servers a peer may control: all, or those of one user. It is for peers with a role.
func scope(p peer) (all bool, uid uint32) { return p.role == operator, p.uid }

// view says which servers a peer may read about: all, or those of one user. It is for peers with a role.
func view(p peer) (all bool, uid uint32) { return p.role >= reader, p.uid }

// connKey is the key of a request's connection in its context.
type connKey struct{}

// peerOf is the peer of a request.
func peerOf(r *http.Request) peer {
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		return c.peer
	}
	return peer{}
}

// readPeer reads the credentials of a client. They are in the user namespace of this process: a user of a container
// with a namespace of its own has another number here than there, and one without a number here is not known.
func (l *limited) readPeer(conn net.Conn) peer {
	cred, err := sys.PeerOf(conn)
	if err != nil || isUnmapped(cred.Uid) {
		return peer{}
	}
	p := peer{role: user, uid: cred.Uid, pid: cred.Pid}
	switch {
	case cred.Uid == 0 || int(cred.Uid) == os.Geteuid():
		p.role = operator
	case l.isMember(conn, cred.Gid):
		p.role = reader
	}
	return p
}

// isMember reports whether a peer is in the group that may read about all servers.
func (l *limited) isMember(conn net.Conn, gid uint32) bool {
	group := l.group
	if group == nil {
		var socket unix.Stat_t
		if unix.Stat(l.Addr().String(), &socket) != nil {
			return false
		}
		group = &socket.Gid
	}
	return !isUnmapped(*group) && (gid == *group || slices.Contains(peerGroups(conn), *group))
}

// maxGroups limits the groups of a peer. One with more is in none of them.
const maxGroups = 1024

// peerGroups are the supplementary groups of a peer.
func peerGroups(conn net.Conn) []uint32 {
	groups := make([]uint32, maxGroups)
	size := uint32(len(groups)) * uint32(unsafe.Sizeof(groups[0]))
	err := sys.Control(conn, func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return groups[:size/uint32(unsafe.Sizeof(groups[0]))]
}

// overflowID is what the kernel gives for an id that has no number in the reader's user namespace.
const overflowID = 65534

// isUnmapped reports whether an id may stand for any id without a number here. In the namespace that has a number for each
// id it is an id like others.
func isUnmapped(id uint32) bool { return id == overflowID && !hasAllIDs() }

var hasAllIDs = sync.OnceValue(func() bool {
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		content, err := os.ReadFile(file)
		if err != nil || !slices.Equal(strings.Fields(string(content)), []string{"0", "0", "4294967295"}) {
			return false
		}
	}
	return true
})

// read refuses requests of peers without a role, and leaves time for others between those of one user.
func (s *Server) read(get answered) http.HandlerFunc {
	return atLeast(user, func(w http.ResponseWriter, r *http.Request) {
		p := peerOf(r)
		s.shares.wait(r.Context(), p)
		began := time.Now()
		answer(get)(w, r)
		s.shares.charge(p, time.Since(began))
	})
}

// onlyFor says which clients have a role at least.
var onlyFor = map[role]string{
	user:     "only local users with a number in the service's user namespace may do this",
	reader:   "only root, the owner of the service and the group of its socket may do this",
	operator: "only root and the owner of the service may do this",
}

// require turns down the request of a client with a lesser role.
func require(least role, r *http.Request) error {
	if peerOf(r).role < least {
		return refusal{http.StatusForbidden, onlyFor[least]}
	}
	return nil
}

// atLeast refuses requests of clients with a lesser role.
func atLeast(least role, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := require(least, r); err != nil {
			refuse(w, err)
			return
		}
		handler(w, r)
	}
}

// errLeft means that the client of a request did not wait for the answer.
var errLeft = errors.New("the client has left")

// hasLeft reports whether the client of a request has closed its connection. Go's server sees that at some time after the
// request begins: a service that was stopped for a while would carry out what its client has given up.
func hasLeft(r *http.Request) bool {
	c, ok := r.Context().Value(connKey{}).(*limitedConn)
	if !ok {
		return false
	}
	events := []unix.PollFd{{}} // POLLHUP needs no asking: it is not half a close, as POLLRDHUP is
	err := sys.Control(c.Conn, func(fd int) error {
		events[0].Fd = int32(fd)
		_, err := unix.Poll(events, 0)
		return err
	})
	return err != nil && !errors.Is(err, errors.ErrUnsupported) || events[0].Revents&unix.POLLHUP != 0
}
