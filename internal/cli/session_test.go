// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ebpf-upgrader/test/testfleet"
)

// caller is a client in session with one server, that calls its tools without pause.
type caller struct {
	server  *testfleet.Server
	session *mcp.ClientSession
	// calls are those that were answered, and counted those of the tool that counts.
	calls   atomic.Int64
	counted int
	stop    chan struct{}
	done    chan error
}

func newCaller(t *testing.T, server *testfleet.Server) *caller {
	t.Helper()
	pipe := server.Session()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(within(t), &mcp.IOTransport{Reader: pipe, Writer: pipe}, nil)
	if err != nil {
		t.Fatalf("initialize the session with %d: %v", server.PID(), err)
	}
	return &caller{server: server, session: session, stop: make(chan struct{}), done: make(chan error, 1)}
}

// run calls until it is stopped, or a call is not answered as it should be.
func (c *caller) run() {
	for {
		select {
		case <-c.stop:
			c.done <- nil
			return
		default:
		}
		if err := c.round(); err != nil {
			c.done <- err
			return
		}
	}
}

func (c *caller) round() error {
	want := fmt.Sprintf("%d of %d", c.calls.Load(), c.server.PID())
	if got, err := c.call("echo", map[string]any{"text": want}); err != nil || got != want {
		return fmt.Errorf("echo answers %q, %w; want %q", got, err, want)
	}
	c.counted++
	if got, err := c.call("count", nil); err != nil || got != strconv.Itoa(c.counted) {
		return fmt.Errorf("count answers %q, %w; want %d", got, err, c.counted)
	}
	if _, err := c.call("wait", map[string]any{"ms": 5}); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	return nil
}

var errTool = errors.New("the tool failed")

func (c *caller) call(tool string, arguments map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := c.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok || result.IsError {
		return "", errTool
	}
	c.calls.Add(1)
	return text.Text, nil
}

// TestSession_ThreeUpgrades_NoCallLost has real clients in session with twenty
// servers. A call that is carried out twice, or not at all, shows in the count.
func TestSession_ThreeUpgrades_NoCallLost(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		s.serve(source)
		callers := make([]*caller, 20)
		for i := range callers {
			callers[i] = newCaller(t, s.start(func(o *testfleet.Options) { o.Session = true }))
			go callers[i].run()
		}
		for range 3 {
			for _, c := range callers {
				answered := c.calls.Load()
				eventually(t, "every client was answered", func() bool { return c.calls.Load() > answered || len(c.done) > 0 })
			}
			s.replace()
			for _, c := range callers {
				s.upgraded(c.server)
			}
		}
		image, err := s.Image()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range callers {
			close(c.stop)
			if err := <-c.done; err != nil {
				t.Fatalf("server %d after %d calls: %v", c.server.PID(), c.calls.Load(), err)
			}
			text, err := c.call("whoami", nil)
			var who testfleet.Whoami
			if err := errors.Join(err, json.Unmarshal([]byte(text), &who)); err != nil {
				t.Fatal(err)
			}
			if who.PID != c.server.PID() || who.Generation != 3 || who.Image != image || who.Initialized != 1 {
				t.Errorf("server %d says %+v; want generation 3 of %s in a session that was initialized once", c.server.PID(), who, image)
			}
		}
	})
}
