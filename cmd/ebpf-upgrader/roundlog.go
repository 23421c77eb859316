// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/upgrade"
)

// roundLog writes what the service does: each server that was asked and each delivery that failed,
// and the count of all verdicts when the install changed or somebody was asked.
type roundLog struct {
	log *slog.Logger
}

func (l roundLog) Round(reason upgrade.Reason, r upgrade.Report, took time.Duration) {
	if r.Install.State != selector.StateReady {
		l.log.Warn("install is not ready", "path", r.Install.Path, "state", string(r.Install.State), "detail", r.Install.Detail)
		return
	}
	for _, s := range r.Servers {
		level, message := slog.LevelDebug, "not signalled"
		if slices.Contains(r.Sent, s.PID) {
			level, message = slog.LevelInfo, "signalled"
		}
		l.log.Log(context.Background(), level, message, "pid", s.PID, "uid", s.UID,
			"verdict", s.Verdict.String(), "detail", s.Detail, "image", s.Image.String())
	}
	for _, f := range r.Failed {
		l.log.Error("delivery failed", "pid", f.PID, "error", f.Error)
	}
	level := slog.LevelDebug
	if reason == upgrade.ReasonInstall || len(r.Sent)+len(r.Failed) > 0 {
		level = slog.LevelInfo
	}
	l.log.Log(context.Background(), level, "round", "reason", string(reason), "image", r.Install.Image.String(),
		"sent", len(r.Sent), "failed", len(r.Failed), "servers", summary(r), "took", took)
}

func (l roundLog) Trouble(err error) {
	l.log.Error("going on after an error", "error", err)
}
