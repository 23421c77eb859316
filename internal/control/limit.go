// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
)

const (
	// maxConns limits the connections of the control socket, and maxPublicConns those of the public listener.
	maxConns, maxPublicConns = 128, 64
	// maxReads limits the concurrent requests of clients that may only read, maxStreams those of them that follow the
	// events. Operators have no limit but that of connections.
	maxReads, maxStreams = 64, 32
)

// limited is a listener with a limited number of connections. A new client replaces the one that has gone longest without
// a request. While all of them have requests, a new client is refused at once, so that no waiting client holds any resource.
type limited struct {
	net.Listener
	most int
	mu   sync.Mutex // guards the rest, and busy of each connection
	// open begins with the connection that has gone longest without a request.
	open []*limitedConn
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: conn, of: l, peer: readPeer(l.Listener, conn)}
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// admit reports whether there is room for a connection. It closes an idle one to make room.
func (l *limited) admit(c *limitedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.most {
		idle := slices.IndexFunc(l.open, func(c *limitedConn) bool { return !c.busy })
		if idle < 0 {
			return false
		}
		_ = l.open[idle].Conn.Close()
		l.open = slices.Delete(l.open, idle, idle+1)
	}
	l.open = append(l.open, c)
	return true
}

// limitedConn is busy while a handler serves its request.
type limitedConn struct {
	net.Conn
	of   *limited
	peer peer
	busy bool
}

func (c *limitedConn) Close() error {
	c.of.mu.Lock()
	c.of.remove(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// serve passes a request on. The connection is busy meanwhile.
func (c *limitedConn) serve(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	c.of.mark(c, true)
	defer c.of.mark(c, false)
	handler.ServeHTTP(w, r)
}

// mark moves a connection to the end of those that are open.
func (l *limited) mark(c *limitedConn, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remove(c) {
		c.busy = busy
		l.open = append(l.open, c)
	}
}

// remove reports whether a connection was open. The caller holds mu.
func (l *limited) remove(c *limitedConn) bool {
	i := slices.Index(l.open, c)
	if i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
	}
	return i >= 0
}

// statusAge is how old a status may be that [Recently] returns.
const statusAge = 100 * time.Millisecond

// Recently returns a function that queries once in 100 ms at most, for callers that any process can start. Callers share
// the result and must not change it. The function may be called concurrently, and fails when its context ends.
func Recently(query func(context.Context) (api.Status, error)) func(context.Context) (api.Status, error) {
	turn := make(chan struct{}, 1) // guards the rest
	var status api.Status
	var at time.Time
	return func(ctx context.Context) (api.Status, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return api.Status{}, ctx.Err()
		}
		if time.Since(at) < statusAge {
			return status, nil
		}
		got, err := query(ctx)
		if err == nil {
			status, at = got, time.Now()
		}
		return got, err
	}
}
