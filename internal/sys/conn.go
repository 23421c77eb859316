// SPDX-License-Identifier: MIT

//go:build linux

package sys

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Control calls do with the descriptor of a unix socket, and returns the error of do. It fails with [errors.ErrUnsupported] for
// any other connection.
func Control(conn net.Conn, do func(fd int) error) error {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return errors.Join(err, failed)
}

// PeerOf returns the credentials of the process at the other end of a unix socket: those of its connect(2) or listen(2)
// (init_peercred in net/unix/af_unix.c).
func PeerOf(conn net.Conn) (peer unix.Ucred, err error) {
	err = Control(conn, func(fd int) error {
		found, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			peer = *found
		}
		return err
	})
	return peer, err
}
