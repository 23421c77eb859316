// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

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
	return c.do(ctx, method, what, request, func(ctx context.Context, body io.Reader, _ func() bool) error {
		if err := json.NewDecoder(body).Decode(into); err != nil {
			return c.explain(ctx, fmt.Errorf("read %s: %w", what, err))
		}
		return nil
	})
}
