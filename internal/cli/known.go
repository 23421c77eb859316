// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// knowledge is what a running service says. Without an answer, err says why, and isAbsent that none runs.
type knowledge struct {
	client   *control.Client
	sockets  string
	status   control.Status
	byPID    map[selector.PID]*api.ServerStatus
	all      []api.ServerStatus
	err      error
	isAbsent bool
}

// askService asks the service, if one runs. It never fails.
func (a *app) askService(ctx context.Context) *knowledge {
	k := &knowledge{sockets: strings.Join(a.opts.sockets(), " or "), byPID: make(map[selector.PID]*api.ServerStatus)}
	if k.client, k.err = a.findService(ctx); k.err == nil {
		k.status, k.err = k.client.Status(ctx)
	}
	if k.err == nil {
		k.all, k.err = k.client.Servers(ctx)
	}
	k.isAbsent = errors.Is(k.err, control.ErrNoService)
	for i := range k.all {
		k.byPID[k.all[i].PID] = &k.all[i]
	}
	return k
}

// of is what the service knows of a process, or nil.
func (k *knowledge) of(id selector.Identity) *api.ServerStatus {
	if s := k.byPID[id.PID]; s != nil && s.StartTime == id.StartTime {
		return s
	}
	return nil
}

// answersFor reports whether the service knows all servers that are asked for: it is one of root's for all of this host, and
// looks for the same servers.
func (k *knowledge) answersFor(o *options) bool {
	s := &k.status
	return k.err == nil && os.Geteuid() == 0 && o.installPath() == "" && s.Serves.IsEverything() && s.Serves.Finds(o.rule()) &&
		s.PIDNamespace == daemon.PIDNamespace() && isRoots(s.PID)
}

func isRoots(pid selector.PID) bool {
	info, err := os.Stat("/proc/" + pid.String())
	return err == nil && info.Sys().(*syscall.Stat_t).Uid == 0
}

// without says why no service has answered.
func (k *knowledge) without() string {
	if k.isAbsent {
		return "no service listens on " + k.sockets
	}
	if errors.Is(k.err, control.ErrDenied) {
		return "the service on " + k.sockets + " does not answer this user"
	}
	return "the service has not answered: " + k.err.Error()
}

// completed is a report of this command, with what the service knows of each server.
func (k *knowledge) completed(r api.Report) *listing {
	l := &listing{Report: r, installs: r.Installs, known: k, IsSurvey: true}
	for _, s := range r.Servers {
		full := api.ServerStatus{Server: s}
		if known := k.of(selector.Identity{PID: s.PID, StartTime: s.StartTime}); known != nil {
			full.Rollout, full.Wait = known.Rollout, known.Wait
			if known.Image == full.Image {
				full.Runs = known.Runs
			}
			if full.Rollout == nil {
				full.Wait = k.whyUnserved(known, s.Verdict)
			}
		} else if k.err == nil && s.Verdict == selector.Outdated {
			full.Wait = rollout.Wait{For: rollout.WaitService, Why: "the service does not know it yet, or does not serve it"}
		}
		l.Servers = append(l.Servers, full)
	}
	return l
}

// whyUnserved says why the service does not signal a server that is outdated for this command.
func (k *knowledge) whyUnserved(known *api.ServerStatus, verdict selector.Verdict) rollout.Wait {
	if verdict != selector.Outdated || known.Verdict == selector.Outdated {
		return rollout.Wait{}
	}
	why := fmt.Sprintf("is %s for the service", known.Verdict)
	if known.Detail != "" {
		why += ": " + known.Detail
	}
	return rollout.Wait{For: rollout.WaitService, Why: why}
}

// listing is the answer of the service alone.
func (k *knowledge) listing(o *options) *listing {
	l := &listing{Report: api.NewReport(k.status.Source, selector.PID(o.self), nil), known: k}
	for _, i := range k.status.Installs {
		l.installs = append(l.installs, i.Install)
	}
	due := []selector.PID{}
	for _, s := range k.all {
		p := selector.Process{Container: s.Container, Credentials: selector.Credentials{Owner: selector.User{UID: s.UID}}}
		if why := o.selection.WhyNot(p); why != "" && api.IsServer(s.Server) {
			s.Decision = selector.Decision{Verdict: selector.NotSelected, Detail: why}
		} else if s.Verdict == selector.Outdated {
			due = append(due, s.PID)
		}
		l.Servers = append(l.Servers, s)
	}
	l.Plan = selector.Plan(l.Self, due)
	return l
}
