// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"path"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
)

// Stager brings staged files into their place. Its methods may be called concurrently, and wait for nothing.
type Stager interface {
	// Staged says how far each path has come.
	Staged() []api.Staged
	// Fleet says what is known of the fleet that decides; nil: none does.
	Fleet() *api.Fleet
	// Unsettled says why a tool must not go on to the next host; nil: it may.
	Unsettled() error
	// Poke makes the host ask its fleet now.
	Poke() error
	// Activate lets a staged release go on, and RollBack puts the file before it back.
	Activate(r api.StageRequest) error
	RollBack(r api.StageRequest) error
}

// DefaultBake is how long a release bakes where an operator does not say it.
const DefaultBake = 10 * time.Minute

// MaxBake limits [StageRequest.Bake].
const MaxBake = 30 * 24 * time.Hour

// StageRequest is the body of /v1/activate and /v1/rollback.
type StageRequest struct {
	InstallPath string `json:"install_path"`
	// Bake is how long the release bakes; nil: [DefaultBake]. A rollback does not take it.
	Bake *rollout.Seconds `json:"bake_seconds,omitempty"`
	// Reason is kept and shown. It has at most [MaxReason] bytes.
	Reason string `json:"reason,omitzero"`
}

// Staged is the answer to both.
type Staged struct {
	SchemaVersion int `json:"schema_version"`
	// Staged are all installs that are served by staged files.
	Staged []api.Staged `json:"staged"`
}

func (request StageRequest) check() error {
	why := ""
	switch {
	case !path.IsAbs(request.InstallPath):
		why = "install_path must be absolute"
	case len(request.Reason) > MaxReason:
		why = "the reason is too long"
	case request.Bake != nil && (*request.Bake < 0 || time.Duration(*request.Bake) > MaxBake):
		why = "bake_seconds must be between 0 and 30 days"
	default:
		return nil
	}
	return refusal{http.StatusBadRequest, why}
}

// handleStage adds the requests about staged files.
func (s *Server) handleStage(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/activate", atLeast(user, answer(s.staged(ActActivate, Stager.Activate))))
	mux.HandleFunc("POST /v1/fleet/poke", atLeast(user, answer(s.poke)))
	mux.HandleFunc("POST /v1/rollback", atLeast(user, answer(s.staged(ActRollback, Stager.RollBack))))
}

// staged answers the request of an operator about a staged file.
func (s *Server) staged(act string, do func(Stager, api.StageRequest) error) answered {
	return func(_ context.Context, r *http.Request) (any, error) {
		request, err := readBody[StageRequest](r)
		if err = cmp.Or(err, request.check(), require(operator, r)); err != nil {
			return nil, err
		}
		if s.cfg.Stager == nil {
			return nil, api.ErrNotStaged
		}
		bake := DefaultBake
		if request.Bake != nil {
			bake = time.Duration(*request.Bake)
		}
		err = do(s.cfg.Stager, api.StageRequest{Path: request.InstallPath, Bake: bake, By: peerOf(r).act(request.Reason)})
		if err == nil {
			s.acted(r, Event{Act: act, Path: request.InstallPath, Detail: request.Reason})
		}
		return Staged{api.SchemaVersion, s.cfg.Stager.Staged()}, err
	}
}

// poke makes the host ask its fleet now, for an operator.
func (s *Server) poke(_ context.Context, r *http.Request) (any, error) {
	if err := require(operator, r); err != nil {
		return nil, err
	}
	if s.cfg.Stager == nil {
		return nil, api.ErrNoFleet
	}
	return Staged{api.SchemaVersion, s.cfg.Stager.Staged()}, s.cfg.Stager.Poke()
}

// stageReady answers 503, with the reason, while a tool must not go on to the next host.
func (s *Server) stageReady(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Stager != nil {
		if err := s.cfg.Stager.Unsettled(); err != nil {
			refuse(w, err)
			return
		}
	}
	s.health(w, r)
}

// stagedFor is what a peer may read that may read about one user only: no output of a program.
func stagedFor(all []api.Staged) []api.Staged {
	var shown []api.Staged
	for _, s := range all {
		if s.Preflight != nil {
			s.Preflight = &api.Preflight{Release: s.Preflight.Release, Problem: s.Preflight.Problem}
		}
		s.Deaths, s.Behind = 0, 0
		shown = append(shown, s)
	}
	return shown
}

// Activate lets a staged release go on, without the gate.
func (c *Client) Activate(ctx context.Context, request StageRequest) (done Staged, err error) {
	return done, c.post(ctx, ActActivate, request, &done)
}

// Poke makes the host ask its fleet now.
func (c *Client) Poke(ctx context.Context) (done Staged, err error) {
	return done, c.post(ctx, "fleet/poke", struct{}{}, &done)
}

// Ready asks for /readyz/fleet. The error says why a tool must not go on to the next host.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/readyz/fleet", nil, func(context.Context, io.Reader, func() bool) error { return nil })
}

// Rollback puts the file before a staged one back.
func (c *Client) Rollback(ctx context.Context, request StageRequest) (done Staged, err error) {
	return done, c.post(ctx, ActRollback, request, &done)
}
