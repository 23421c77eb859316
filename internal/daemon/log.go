// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"log/slog"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// eventLog writes each change of a server's state, each phase of a rollout, and the counted verdicts of a round that plans
// signals.
type eventLog struct {
	log *slog.Logger
}

func (l eventLog) Round(reason api.Reason, r api.Report, took time.Duration) {
	for _, i := range r.Installs {
		if i.State != selector.StateReady {
			l.log.Warn("install not ready", "path", i.Path, "state", string(i.State), "detail", i.Detail)
		}
	}
	level := slog.LevelDebug
	if reason == api.ReasonInstall || len(r.Plan) > 0 {
		level = slog.LevelInfo
	}
	l.log.Log(context.Background(), level, "round", "reason", string(reason), "planned", len(r.Plan), "servers", Verdicts(r), "took", took)
}

func (l eventLog) Rollout(r rollout.Report) {
	level := slog.LevelInfo
	if (r.Phase == rollout.PhaseHalted || r.Phase == rollout.PhaseFailed) && !r.Superseded {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "rollout phase", "number", r.Number, "phase", string(r.Phase), "superseded", r.Superseded,
		"path", r.Install.Path, "image", r.Install.Image.String(), "servers", Outcomes(r), "deaths", r.Deaths)
}

func (l eventLog) Moved(m rollout.Member, from rollout.State) {
	level := slog.LevelInfo
	switch m.State {
	case rollout.Crashed, rollout.GaveUp:
		level = slog.LevelWarn
	case rollout.None, rollout.Pending, rollout.Skipped:
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "server state", "pid", m.PID, "uid", m.UID, "rollout", m.Rollout, "state", m.State.String(), "from", from.String(),
		"attempt", m.Attempts, "by_other", m.ByOther, "verdict", m.Verdict.String(), "detail", m.Detail)
}

func (l eventLog) Refused(m rollout.Member, err error) {
	l.log.Warn("not signalled", "pid", m.PID, "uid", m.UID, "error", err)
}

func (l eventLog) Trouble(err error) {
	l.log.Error("the service goes on after an error", "error", err)
}

// observers passes everything on to several observers, in their order.
type observers []controller.Observer

func (all observers) each(f func(controller.Observer)) {
	for _, o := range all {
		f(o)
	}
}

func (all observers) Round(reason api.Reason, r api.Report, took time.Duration) {
	all.each(func(o controller.Observer) { o.Round(reason, r, took) })
}

func (all observers) Rollout(r rollout.Report) {
	all.each(func(o controller.Observer) { o.Rollout(r) })
}

func (all observers) Moved(m rollout.Member, from rollout.State) {
	all.each(func(o controller.Observer) { o.Moved(m, from) })
}

func (all observers) Refused(m rollout.Member, err error) {
	all.each(func(o controller.Observer) { o.Refused(m, err) })
}

func (all observers) Trouble(err error) {
	all.each(func(o controller.Observer) { o.Trouble(err) })
}
