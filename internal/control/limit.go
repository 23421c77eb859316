// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"net"
	"sync"
	"sync/atomic"
)

// mostConns is how many clients are served at a time. One more is turned away at once, so that nobody
// who waits takes up anything.
const mostConns = 128

// limited is a listener that turns clients away when there are too many.
type limited struct {
	net.Listener
	open atomic.Int32
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= mostConns {
			return &limitedConn{Conn: conn, leave: func() { l.open.Add(-1) }}, nil
		}
		l.open.Add(-1)
		_ = conn.Close()
	}
}

type limitedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *limitedConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
