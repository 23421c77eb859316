// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"net"
	"sync"
	"sync/atomic"
)

// maxConns is how many clients are served at a time. The next one is refused at once, so that no waiting client holds any
// resource.
const maxConns = 128

// limited is a listener that refuses clients above the limit.
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
		if l.open.Add(1) <= maxConns {
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
