// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

func (s *Server) status(ctx context.Context, r *http.Request) (any, error) {
	all, uid := view(peerOf(r))
	if all {
		return s.fullStatus(ctx)
	}
	recent, err := s.recent.Get(ctx)
	return statusOf(recent.status, serversOf(recent.servers, uid), uid), err
}

// snapshot is what peers that may read about one user are told of. The servers are read after the status: whoever reads that a
// rollout is over finds each of its servers with its result.
type snapshot struct {
	status  Status
	servers []api.ServerStatus
}

func (s *Server) snapshot(ctx context.Context) (now snapshot, err error) {
	if now.status, err = s.fullStatus(ctx); err == nil {
		now.servers, err = s.cfg.Service.Servers(ctx)
	}
	return now, err
}

// fullStatus is the status for peers that may read about all servers.
func (s *Server) fullStatus(ctx context.Context) (all Status, err error) {
	status, err := s.cfg.Service.Status(ctx)
	if err != nil {
		return all, err
	}
	all = Status{SchemaVersion: api.SchemaVersion, Info: s.cfg.Info, Status: status, Events: s.cfg.Feed.Last()}
	all.Gate, err = s.cfg.Gate()
	return all, errors.Join(err, s.cfg.Host(&all))
}

func (s *Server) servers(ctx context.Context, r *http.Request) (any, error) {
	all, uid := view(peerOf(r))
	if all {
		servers, err := s.cfg.Service.Servers(ctx)
		return Servers{api.SchemaVersion, servers}, err
	}
	recent, err := s.recent.Get(ctx)
	return Servers{api.SchemaVersion, serversOf(recent.servers, uid)}, err
}

func (s *Server) rollouts(ctx context.Context, r *http.Request) (any, error) {
	all, uid := view(peerOf(r))
	if all {
		rollouts, err := s.cfg.Service.Rollouts(ctx)
		return Rollouts{api.SchemaVersion, rollouts}, err
	}
	rollouts, err := s.recentRollouts.Get(ctx)
	recent, err2 := s.recent.Get(ctx)
	own := serversOf(recent.servers, uid)
	return Rollouts{api.SchemaVersion, rolloutsOf(rollouts, installsOf(recent.status.Status, own, uid), own, uid)}, errors.Join(err, err2)
}

// errNotOwn means that a peer asked about a process that is none of its user's servers.
var errNotOwn = refusal{http.StatusForbidden, "no server of this user"}

func (s *Server) gate(ctx context.Context, r *http.Request) (any, error) {
	number, err := strconv.ParseInt(r.FormValue("pid"), 10, 32)
	if err != nil || number <= 0 {
		return nil, refusal{http.StatusBadRequest, "pid must be a process number"}
	}
	pid := selector.PID(number)
	if all, uid := view(peerOf(r)); !all {
		recent, err := s.recent.Get(ctx)
		isOwn := func(s api.ServerStatus) bool { return s.UID == uid && s.PID == pid }
		if err != nil || !slices.ContainsFunc(recent.servers, isOwn) {
			return nil, errors.Join(err, errNotOwn)
		}
	}
	c := Covered{SchemaVersion: api.SchemaVersion}
	c.Active, c.Covers, err = s.cfg.Covers(pid)
	return c, err
}
