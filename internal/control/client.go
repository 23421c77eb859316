// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

var (
	// ErrNoService means that no process listens on the socket.
	ErrNoService = errors.New("no service runs")
	// ErrDenied means that the service, or the mode of its socket, refuses this user.
	ErrDenied = errors.New("not permitted")
)

// Client queries and controls the service on a socket. Its methods may be called concurrently.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a Client that connects for each request.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}
	return c
}

// Status reads what the service does.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	return status, c.get(ctx, "status", &status)
}

// Servers reads every server with its verdict.
func (c *Client) Servers(ctx context.Context) ([]api.ServerStatus, error) {
	var servers Servers
	err := c.get(ctx, "servers", &servers)
	return servers.Servers, err
}

// Rollouts reads the latest rollouts.
func (c *Client) Rollouts(ctx context.Context) ([]rollout.Report, error) {
	var rollouts Rollouts
	err := c.get(ctx, "rollouts", &rollouts)
	return rollouts.Rollouts, err
}

// Gate reads whether the gate covers a process.
func (c *Client) Gate(ctx context.Context, pid selector.PID) (covered Covered, err error) {
	return covered, c.get(ctx, fmt.Sprintf("gate?pid=%d", pid), &covered)
}

// Trigger makes the service do a round now.
func (c *Client) Trigger(ctx context.Context, request TriggerRequest) (report api.Report, err error) {
	return report, c.post(ctx, "trigger", request, &report)
}

// Pause makes the service signal no server until [Client.Resume].
func (c *Client) Pause(ctx context.Context) error {
	return c.post(ctx, "pause", struct{}{}, &struct{}{})
}

// Resume ends a pause or the halt of a rollout.
func (c *Client) Resume(ctx context.Context) error {
	return c.post(ctx, "resume", struct{}{}, &struct{}{})
}

// Events passes each event from number from on to take, and with follow further ones, until take fails, ctx ends or the
// service ends.
func (c *Client) Events(ctx context.Context, from uint64, follow bool, take func(Event) error) error {
	return c.SelectEvents(ctx, EventQuery{From: from, Follow: follow}, take)
}

func (c *Client) get(ctx context.Context, what string, into any) error {
	return c.decode(ctx, http.MethodGet, what, nil, into)
}

func (c *Client) post(ctx context.Context, what string, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("request %s: %w", what, err)
	}
	return c.decode(ctx, http.MethodPost, what, body, into)
}

func (c *Client) decode(ctx context.Context, method, what string, request []byte, into any) error {
	body, err := c.do(ctx, method, what, request)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// do sends a request, and returns the body of a successful answer. The caller must close it.
func (c *Client) do(ctx context.Context, method, what string, request []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://service/v1/"+what, bytes.NewReader(request))
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", what, err)
	}
	response, err := c.http.Do(r)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("connect to the service on %s: %w", c.path, ErrNoService)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("connect to the service on %s: %w", c.path, ErrDenied)
	case err != nil:
		return nil, fmt.Errorf("connect to the service on %s: %w", c.path, cause(errors.Unwrap(err)))
	case response.StatusCode == http.StatusOK:
		return response.Body, nil
	}
	defer func() { _ = response.Body.Close() }()
	var p problem
	_ = json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&p)
	if response.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%w: %s", ErrDenied, p.Error)
	}
	return nil, fmt.Errorf("the service says: %s", p.Error)
}
