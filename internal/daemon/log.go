// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	// linesPerUser is how many lines about one user are written in a minute. journald takes 10,000 lines of a service in
	// 30 s by default, so one user cannot push out those of others.
	linesPerUser = 600
	linesEvery   = time.Minute
	// maxRolloutOwners limits the rollouts with a known user.
	maxRolloutOwners = 4096
)

// noUser stands for lines that concern no user, or several.
const noUser = -1

// eventLog writes each change of a server's state, each phase of a rollout, and the counted verdicts of a round that plans
// signals. Lines about one user are limited.
type eventLog struct {
	log *slog.Logger
	// owners are the users of the rollouts, and unready the details of installs that are not ready. Only the loop uses them.
	owners  map[uint64]int64
	unready map[string]string

	mu sync.Mutex // guards the rest
	// lines counts those of each user in this minute.
	lines   map[int64]int
	dropped uint64
}

func newEventLog(log *slog.Logger) *eventLog {
	return &eventLog{log: log, owners: make(map[uint64]int64), unready: make(map[string]string), lines: make(map[int64]int)}
}

// write writes a line about a user, unless there were too many in this minute.
func (l *eventLog) write(user int64, level slog.Level, message string, attributes ...any) {
	ctx := context.Background()
	if l.log.Enabled(ctx, level) && l.allows(user, level) {
		l.log.Log(ctx, level, message, attributes...)
	}
}

func (l *eventLog) allows(user int64, level slog.Level) bool {
	if user == noUser && level >= slog.LevelWarn {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[user]++
	if l.lines[user] <= linesPerUser {
		return true
	}
	l.dropped++
	return false
}

// droppedLines counts the lines that were too many for their user.
func (l *eventLog) droppedLines() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// report writes each minute how many lines of which users were dropped, until ctx ends.
func (l *eventLog) report(ctx context.Context) error {
	ticker := time.NewTicker(linesEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		l.mu.Lock()
		lines := l.lines
		l.lines = make(map[int64]int)
		l.mu.Unlock()
		for user, n := range lines {
			if n > linesPerUser {
				l.log.Warn("log lines about a user were dropped: there are too many", "uid", user, "lines", n-linesPerUser)
			}
		}
	}
	return nil
}

func (l *eventLog) Round(reason api.Reason, r api.Report, took time.Duration) {
	user := userOf(r.Servers)
	for _, i := range r.Installs {
		if i.State != selector.StateReady && l.unready[i.Path] != i.Detail {
			l.write(noUser, slog.LevelWarn, "install not ready", "path", i.Path, "state", string(i.State), "detail", i.Detail)
		}
		l.unready[i.Path] = i.Detail
	}
	level := slog.LevelDebug
	if reason == api.ReasonInstall || len(r.Plan) > 0 {
		level = slog.LevelInfo
	}
	l.write(user, level, "round", "reason", string(reason), "planned", len(r.Plan), "servers", Verdicts(r), "took", took)
}

// userOf is the user of all servers.
func userOf(servers []api.Server) int64 {
	user := int64(noUser)
	for i := range servers {
		uid := int64(servers[i].UID)
		if i > 0 && uid != user {
			return noUser
		}
		user = uid
	}
	return user
}

func (l *eventLog) Rollout(r rollout.Report) {
	level := slog.LevelInfo
	if (r.Phase == rollout.PhaseHalted || r.Phase == rollout.PhaseFailed) && !r.Superseded {
		level = slog.LevelError
	}
	user, isKnown := l.owners[r.Number]
	if !isKnown {
		user = noUser
	}
	l.write(user, level, "rollout phase", "number", r.Number, "phase", string(r.Phase), "superseded", r.Superseded,
		"path", r.Install.Path, "image", r.Install.Image.String(), "servers", Outcomes(r), "deaths", r.Deaths)
	if r.Superseded {
		delete(l.owners, r.Number)
	}
}

func (l *eventLog) Moved(m rollout.Member, from rollout.State) {
	l.own(m.Rollout, int64(m.UID))
	level := slog.LevelInfo
	switch m.State {
	case rollout.Crashed, rollout.GaveUp:
		level = slog.LevelWarn
	case rollout.None, rollout.Pending, rollout.Skipped:
		level = slog.LevelDebug
	}
	l.write(int64(m.UID), level, "server state", "pid", m.PID, "uid", m.UID, "rollout", m.Rollout, "state", m.State.String(), "from", from.String(),
		"attempt", m.Attempts, "by_other", m.ByOther, "verdict", m.Verdict.String(), "detail", m.Detail)
}

// own notes that a rollout has a server of a user.
func (l *eventLog) own(number uint64, user int64) {
	known, isKnown := l.owners[number]
	if isKnown && known != user {
		user = noUser
	}
	if !isKnown && len(l.owners) >= maxRolloutOwners {
		clear(l.owners)
	}
	l.owners[number] = user
}

func (l *eventLog) Refused(m rollout.Member, err error) {
	l.write(int64(m.UID), slog.LevelWarn, "not signalled", "pid", m.PID, "uid", m.UID, "error", err)
}

func (l *eventLog) Trouble(err error) {
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
