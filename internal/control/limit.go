// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// maxConns limits the connections of the control socket, maxOthers those of peers that are no operators, and maxPerUser
	// those of such a user. maxPublicConns limits the connections of the public listener.
	maxConns, maxOthers, maxPerUser = 128, 96, 8
	maxPublicConns                  = 64
	// acceptMost connections are accepted in acceptEvery: clients that connect without a pause use no more of the processor.
	acceptMost, acceptEvery = 200, 10 * time.Millisecond
)

// limited is a listener with a limited number of connections. A new client replaces the one that has gone longest without
// a request, of the same user if that has too many. While all of them have requests, a new client is refused at once, so
// that no waiting client holds any resource.
type limited struct {
	net.Listener
	// most connections are open; mostOthers and mostPerUser are zero where the peers are not known.
	most, mostOthers, mostPerUser int
	// group is the one with members that may read about all servers; nil: that of the socket.
	group *uint32
	// began is when the current acceptEvery began, and accepted counts its connections. Only Accept uses them.
	began    time.Time
	accepted int

	mu sync.Mutex // guards the rest, and busy of each connection
	// open begins with the connection that has gone longest without a request.
	open []*limitedConn
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		if l.mostOthers > 0 {
			l.pace()
		}
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: conn, of: l, peer: l.readPeer(conn)}
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// pace waits where too many connections were accepted just now.
func (l *limited) pace() {
	now := time.Now()
	if left := l.began.Add(acceptEvery).Sub(now); left > 0 && l.accepted >= acceptMost {
		time.Sleep(left)
		now = time.Now()
	}
	if now.Sub(l.began) >= acceptEvery {
		l.began, l.accepted = now, 0
	}
	l.accepted++
}

// admit reports whether there is room for a connection. It closes an idle one to make room.
func (l *limited) admit(c *limitedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isOneOf := l.crowd(c.peer); isOneOf != nil {
		idle := slices.IndexFunc(l.open, func(c *limitedConn) bool { return !c.busy && isOneOf(c) })
		if idle < 0 {
			return false
		}
		_ = l.open[idle].Conn.Close()
		l.open = slices.Delete(l.open, idle, idle+1)
	}
	l.open = append(l.open, c)
	return true
}

// crowd selects the connections of which one must make room for a peer; nil: there is room. The caller holds mu.
func (l *limited) crowd(p peer) (isOneOf func(*limitedConn) bool) {
	all := func(*limitedConn) bool { return true }
	others := func(c *limitedConn) bool { return c.peer.role != operator }
	own := func(c *limitedConn) bool { return others(c) && c.peer.uid == p.uid }
	isFull := len(l.open) >= l.most
	switch isKnown := l.mostOthers > 0; {
	case isFull && (p.role == operator || !isKnown):
		return all
	case p.role == operator || !isKnown:
		return nil
	case l.count(own) >= l.mostPerUser:
		return own
	case isFull || l.count(others) >= l.mostOthers:
		return others
	}
	return nil
}

func (l *limited) count(is func(*limitedConn) bool) (n int) {
	for _, c := range l.open {
		if is(c) {
			n++
		}
	}
	return n
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

// mark moves a connection to the end of those that are open. It is busy from the beginning of a request to the end.
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

// statusAge is how old an answer may be that a [Recent] returns.
const statusAge = 100 * time.Millisecond

// Recent answers callers that any process can start: it queries once in 100 ms at most. Callers share the result and must
// not change it. It is safe for concurrent use.
type Recent[T any] struct {
	query func(context.Context) (T, error)
	// turn guards the rest.
	turn   chan struct{}
	latest T
	at     time.Time
}

// Recently returns a Recent that has yet to query.
func Recently[T any](query func(context.Context) (T, error)) *Recent[T] {
	return &Recent[T]{query: query, turn: make(chan struct{}, 1)}
}

// Get returns the recent result. It fails when ctx ends.
func (r *Recent[T]) Get(ctx context.Context) (got T, err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return got, ctx.Err()
	}
	if time.Since(r.at) < statusAge {
		return r.latest, nil
	}
	if got, err = r.query(ctx); err == nil {
		r.latest, r.at = got, time.Now()
	}
	return got, err
}

// Forget makes the next call query: the result may no longer hold.
func (r *Recent[T]) Forget() {
	r.turn <- struct{}{}
	r.at = time.Time{}
	<-r.turn
}
