// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// role is what a client may do.
type role uint8

const (
	noRole role = iota
	reader
	operator
)

// connKey is the key of a request's connection in its context.
type connKey struct{}

// roleOf is the role of a request's peer. The kernel recorded the peer's credentials when it connected (unix_listen and
// init_peercred in net/unix/af_unix.c).
func roleOf(r *http.Request) role {
	limited, ok := r.Context().Value(connKey{}).(*limitedConn)
	if !ok {
		return noRole
	}
	c, ok := limited.Conn.(*net.UnixConn)
	if !ok {
		return noRole
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return noRole
	}
	found := noRole
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		switch {
		case err != nil:
		case peer.Uid == 0 || int(peer.Uid) == os.Geteuid():
			found = operator
		default: // the mode of the socket let it in
			found = reader
		}
	})
	return found
}

// enter takes an entry of a limit, and returns what gives it back. An operator needs none.
func enter(r *http.Request, limit chan struct{}) (done func(), ok bool) {
	if roleOf(r) == operator {
		return func() {}, true
	}
	select {
	case limit <- struct{}{}:
		return func() { <-limit }, true
	default:
		return nil, false
	}
}

// read refuses requests of peers without a role, and limits those of peers that may only read.
func (s *Server) read(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if roleOf(r) == noRole {
			refuse(w, http.StatusForbidden, "only local users may do this")
			return
		}
		done, ok := enter(r, s.reads)
		if !ok {
			refuse(w, http.StatusTooManyRequests, "too many requests at a time")
			return
		}
		defer done()
		handler(w, r)
	}
}

// operate refuses requests of peers that may only read.
func operate(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if roleOf(r) != operator {
			refuse(w, http.StatusForbidden, "only root and the owner of the service may do this")
			return
		}
		handler(w, r)
	}
}
