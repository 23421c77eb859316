// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

var (
	// ErrNoService means that no process listens on the socket.
	ErrNoService = errors.New("no service runs")
	// ErrDenied means that the service, or the mode of its socket, refuses this user.
	ErrDenied = errors.New("not permitted")
	// ErrNotTrusted means that a process of another user than root and this one listens on the socket.
	ErrNotTrusted = errors.New("not trusted")
	// ErrEnded means that the service ended before its answer did.
	ErrEnded = errors.New("the service has ended")
	// ErrTimeout means that the service did not answer in time. It carries out no request that its client has given up, unless
	// it had begun.
	ErrTimeout = errors.New("does not answer")
)

// Client queries and controls the service on a socket. Its methods may be called concurrently. Its fields must be set before.
type Client struct {
	// Timeout limits how long an answer takes; for a stream, how long it takes to begin. 0: no limit.
	Timeout time.Duration
	// OnlyTrusted says that the service must be root's or one of this user. Anyone may have made a socket in a folder that is
	// shared.
	OnlyTrusted bool

	path string
	http http.Client
	// pid is the process that accepted the latest connection; 0: not known.
	pid atomic.Int32
}

// NewClient returns a Client that connects to path for each request, without a time limit.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}
	return c
}

// Path is the socket.
func (c *Client) Path() string { return c.path }

// Reach connects to the service, and sends nothing.
func (c *Client) Reach(ctx context.Context) error {
	ctx, _, end := c.limit(ctx)
	defer end()
	conn, err := c.dial(ctx)
	if err != nil {
		return c.explain(ctx, err)
	}
	return conn.Close()
}

// dialEvery is the time between two tries to connect to a socket with a full queue.
const dialEvery = 2 * time.Millisecond

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	for errors.Is(err, unix.EAGAIN) { // others fill its queue
		if sys.WaitFor(ctx.Done(), dialEvery) {
			return nil, ctx.Err()
		}
		conn, err = d.DialContext(ctx, "unix", c.path)
	}
	if err != nil {
		return nil, err
	}
	peer, err := sys.PeerOf(conn)
	c.pid.Store(peer.Pid)
	if err == nil && c.OnlyTrusted && peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		err = fmt.Errorf("process %d of uid %d listens there: %w", peer.Pid, peer.Uid, ErrNotTrusted)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// limit returns a context that ends when the time of a request is over, unless lift is called before. The caller must call end.
func (c *Client) limit(ctx context.Context) (limited context.Context, lift func() bool, end func()) {
	limited, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(cmp.Or(c.Timeout, math.MaxInt64), func() { cancel(ErrTimeout) })
	return limited, timer.Stop, func() {
		timer.Stop()
		cancel(nil)
	}
}

// explain turns the error of a connection into one that says what happened. ctx is that of the request.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), ErrTimeout):
		service := "the service"
		if pid := c.pid.Load(); pid != 0 {
			service = fmt.Sprintf("process %d", pid)
		}
		return fmt.Errorf("%s %w within %s", service, ErrTimeout, c.Timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("connect to the service on %s: %w", c.path, ErrNoService)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("connect to the service on %s: %w", c.path, ErrDenied)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return ErrEnded
	}
	return fmt.Errorf("the service on %s: %w", c.path, cause(err))
}

// do sends a request, and passes the body of a successful answer to read, with the context that ends with the time. lift
// removes the limit of that.
func (c *Client) do(ctx context.Context, method, what string, request []byte, read func(ctx context.Context, body io.Reader, lift func() bool) error) error {
	ctx, lift, end := c.limit(ctx)
	defer end()
	path := "/v1/" + what
	if strings.HasPrefix(what, "/") {
		path = what
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://service"+path, bytes.NewReader(request))
	if err != nil {
		return fmt.Errorf("request %s: %w", what, err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return c.explain(ctx, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return c.refused(response.StatusCode, response.Body)
	}
	return read(ctx, response.Body, lift)
}

// refused is the error of an answer that was not successful.
func (c *Client) refused(code int, body io.Reader) error {
	var p problem
	_ = json.NewDecoder(io.LimitReader(body, maxBody)).Decode(&p)
	switch code {
	case http.StatusForbidden:
		return fmt.Errorf("%w: process %d: %s", ErrDenied, c.pid.Load(), p.Error)
	case http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", ErrConfig, p.Error)
	}
	return fmt.Errorf("the service says: %s", p.Error)
}
