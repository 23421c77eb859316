// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
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

type roleKey struct{}

// withRole adds the role of a connection's peer. The kernel recorded the peer's credentials when it connected (unix_listen
// and init_peercred in net/unix/af_unix.c).
func withRole(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, roleKey{}, roleOf(conn))
}

func roleOf(conn net.Conn) role {
	if limited, ok := conn.(*limitedConn); ok {
		conn = limited.Conn
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return noRole
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return noRole
	}
	r := noRole
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		switch {
		case err != nil:
		case peer.Uid == 0 || int(peer.Uid) == os.Geteuid():
			r = operator
		default: // the mode of the socket let it in
			r = reader
		}
	})
	return r
}

// allow refuses requests of peers without the needed role.
func allow(needed role, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if has, _ := r.Context().Value(roleKey{}).(role); has < needed {
			refuse(w, http.StatusForbidden, "only root and the owner of the service may do this")
			return
		}
		handler(w, r)
	}
}
