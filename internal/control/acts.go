// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// ActRequest is the body of /v1/pause, /v1/resume and /v1/abandon. An empty body is the zero ActRequest.
type ActRequest struct {
	// InstallPath limits a resume to the rollouts of one install. An abandon needs it, a pause does not take it.
	InstallPath string `json:"install_path"`
	// UID limits the act to the servers of one user; nil: all that the peer may control.
	UID *uint32 `json:"uid"`
	// Reason is kept and shown. It has at most [MaxReason] bytes.
	Reason string `json:"reason"`
}

// MaxReason limits the reason of an act, in bytes.
const MaxReason = 256

// act answers the request of an act.
func (s *Server) act(kind api.ActKind) answered {
	return func(ctx context.Context, r *http.Request) (any, error) {
		request, err := readBody[ActRequest](r)
		if err == nil {
			err = request.check(kind)
		}
		if err != nil {
			return nil, err
		}
		p := peerOf(r)
		user, isAllowed := actScope(p, request.UID)
		switch {
		case !isAllowed:
			return nil, refusal{http.StatusForbidden, "only root and the owner of the service may do this with the servers of other users"}
		case !s.shares.act(p, time.Now()):
			return nil, refusal{http.StatusTooManyRequests, fmt.Sprintf("more than %d acts in %s", actsAllowed, actsWithin)}
		}
		defer s.recent.Forget()
		return s.cfg.Service.Act(ctx, api.Act{Kind: kind, Path: request.InstallPath, User: user, By: p.act(request.Reason)})
	}
}

// act is an act of a peer that is carried out now.
func (p peer) act(reason string) rollout.Act {
	return rollout.Act{UID: p.uid, PID: selector.PID(p.pid), At: time.Now(), Reason: reason}
}

// actScope returns the user of the servers that an act of a peer concerns; nil: those of all users. requested is the user
// in the request.
func actScope(p peer, requested *uint32) (user *uint32, isAllowed bool) {
	switch all, own := scope(p); {
	case all:
		return requested, true
	case requested == nil || *requested == own:
		return &own, true
	}
	return nil, false
}

// check rejects what an act does not take.
func (request ActRequest) check(kind api.ActKind) error {
	why := ""
	switch at := request.InstallPath; {
	case len(request.Reason) > MaxReason:
		why = fmt.Sprintf("the reason must not be longer than %d bytes", MaxReason)
	case kind == api.ActPause && at != "":
		why = "a pause concerns all installs: leave out install_path"
	case kind == api.ActAbandon && at == "":
		why = "install_path is needed: the install with the rollout to be abandoned"
	case at != "" && !path.IsAbs(at):
		why = "install_path must be absolute"
	default:
		return nil
	}
	return refusal{http.StatusBadRequest, why}
}

// Act requests an act.
func (c *Client) Act(ctx context.Context, kind api.ActKind, request ActRequest) (done api.Acted, err error) {
	return done, c.post(ctx, string(kind), request, &done)
}

// Pause makes the service signal no server until [Client.Resume].
func (c *Client) Pause(ctx context.Context) error {
	_, err := c.Act(ctx, api.ActPause, ActRequest{})
	return err
}

// Resume ends all pauses and halts.
func (c *Client) Resume(ctx context.Context) error {
	_, err := c.Act(ctx, api.ActResume, ActRequest{})
	return err
}

// isConflict reports whether an error says that the service cannot do what was requested, and not that it fails.
func isConflict(err error) bool {
	return errors.Is(err, errWrongInstall) || errors.Is(err, api.ErrNoRollout) || errors.Is(err, api.ErrTooMany) ||
		errors.Is(err, api.ErrNotStaged) || errors.Is(err, api.ErrNotRolledBack) || errors.Is(err, api.ErrReleaseFailed) || errors.Is(err, api.ErrNoFleet)
}
