// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"errors"
	"net/http"

	"ebpf-upgrader/internal/api"
)

// ErrConfig means that the configuration was refused, and that the service goes on with the old one.
var ErrConfig = errors.New("the service keeps its configuration")

// Current is what a reload may have changed.
type Current struct {
	Serves   api.Serves
	Settings []api.Setting
}

func (s *Server) settings(_ context.Context, r *http.Request) (any, error) {
	if err := require(reader, r); err != nil {
		return nil, err
	}
	return api.Settings{SchemaVersion: api.SchemaVersion, Settings: s.cfg.Current().Settings}, nil
}

// reload answers an operator only: the configuration concerns the servers of all users.
func (s *Server) reload(ctx context.Context, r *http.Request) (any, error) {
	if err := require(operator, r); err != nil {
		return nil, err
	}
	return s.cfg.Reload(ctx)
}

// Settings reads the settings of the service.
func (c *Client) Settings(ctx context.Context) (settings api.Settings, err error) {
	return settings, c.get(ctx, "config", &settings)
}

// Reload makes the service read its configuration again. It fails with [ErrConfig] where that is refused.
func (c *Client) Reload(ctx context.Context) (done api.Reloaded, err error) {
	return done, c.post(ctx, "reload", struct{}{}, &done)
}
