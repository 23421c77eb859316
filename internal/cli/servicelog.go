// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"log/slog"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// serviceLog writes what the service does: each server that went from one state to another, each phase
// of a rollout, and a count of all verdicts when somebody is to be asked.
type serviceLog struct {
	log *slog.Logger
}

func (l serviceLog) Round(reason controller.Reason, r controller.Report, took time.Duration) {
	for _, i := range r.Installs {
		if i.State != selector.StateReady {
			l.log.Warn("install is not ready", "path", i.Path, "state", string(i.State), "detail", i.Detail)
		}
	}
	level := slog.LevelDebug
	if reason == controller.ReasonInstall || len(r.Plan) > 0 {
		level = slog.LevelInfo
	}
	l.log.Log(context.Background(), level, "round", "reason", string(reason), "to_be_asked", len(r.Plan), "servers", summary(r), "took", took)
}

func (l serviceLog) Rollout(r rollout.Report) {
	level := slog.LevelInfo
	if (r.Phase == rollout.PhaseHalted || r.Phase == rollout.PhaseFailed) && !r.Superseded {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, "rollout", "number", r.Number, "phase", string(r.Phase), "superseded", r.Superseded,
		"path", r.Install.Path, "image", r.Install.Image.String(), "servers", outcomes(r), "deaths", r.Deaths)
}

func (l serviceLog) Moved(m rollout.Member, from rollout.State) {
	level := slog.LevelInfo
	switch m.State {
	case rollout.Crashed, rollout.GaveUp:
		level = slog.LevelWarn
	case rollout.None, rollout.Pending, rollout.Skipped:
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "server", "pid", m.PID, "uid", m.UID, "rollout", m.Rollout, "state", m.State.String(), "was", from.String(),
		"attempt", m.Attempts, "by_other", m.ByOther, "verdict", m.Verdict.String(), "detail", m.Detail)
}

func (l serviceLog) Refused(m rollout.Member, err error) {
	l.log.Warn("not asked", "pid", m.PID, "uid", m.UID, "error", err)
}

func (l serviceLog) Trouble(err error) {
	l.log.Error("going on after an error", "error", err)
}

// observers tells several what the service does.
type observers []controller.Observer

func (all observers) Round(reason controller.Reason, r controller.Report, took time.Duration) {
	for _, o := range all {
		o.Round(reason, r, took)
	}
}

func (all observers) Rollout(r rollout.Report) {
	for _, o := range all {
		o.Rollout(r)
	}
}

func (all observers) Moved(m rollout.Member, from rollout.State) {
	for _, o := range all {
		o.Moved(m, from)
	}
}

func (all observers) Refused(m rollout.Member, err error) {
	for _, o := range all {
		o.Refused(m, err)
	}
}

func (all observers) Trouble(err error) {
	for _, o := range all {
		o.Trouble(err)
	}
}
