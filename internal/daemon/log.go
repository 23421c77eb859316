// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	// linesPerUser is how many lines about one user are written in a minute. journald takes 10,000 lines of a service in
	// 30 s by default, so one user cannot push out those of others.
	linesPerUser = 600
	linesEvery   = time.Minute
)

// noUser stands for lines that concern no user, or several.
const noUser = -1

// eventLog is the log as a [controller.Observer]: a line for each phase of a rollout, for deaths and halts, for installs that
// are not ready and for acts of operators. Lines about one user are limited. Its methods may be called concurrently.
type eventLog struct {
	log   *slog.Logger
	names *userNames
	// buildOf says what the file of an image says of itself. It does not wait for a file system.
	buildOf func(selector.Image) selector.Build

	rolloutsMu sync.Mutex // guards rollouts
	rollouts   map[uint64]*rolloutLines

	mu sync.Mutex // guards the rest
	// lines counts those of each user in this minute.
	lines   map[int64]int
	dropped uint64
	// unready are the installs that are not ready.
	unready map[registry.Key]*unready
}

func newEventLog(log *slog.Logger, buildOf func(selector.Image) selector.Build) *eventLog {
	names := newUserNames()
	names.of(0) // so that it is known when root acts
	return &eventLog{
		log: log, names: names, buildOf: buildOf, rollouts: make(map[uint64]*rolloutLines),
		lines: make(map[int64]int), unready: make(map[registry.Key]*unready),
	}
}

// write writes a line about a user, unless there were too many in this minute.
func (l *eventLog) write(uid int64, m message, fields ...slog.Attr) {
	if l.log.Enabled(context.Background(), m.level) && l.allows(uid, m.level) {
		m.to(l.log, append(l.userFields(uid), fields...)...)
	}
}

// userFields are the name and the number of a user; only the name where there are several.
func (l *eventLog) userFields(uid int64) []slog.Attr {
	if uid == noUser {
		return []slog.Attr{keyUser.of("several users")}
	}
	return []slog.Attr{keyUser.of(l.names.of(uint32(uid))), keyUID.of(uid)}
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
		lines := maps.Clone(l.lines)
		if ctx.Err() == nil { // the last lines of a service belong to its last minute
			clear(l.lines)
		}
		l.mu.Unlock()
		for user, n := range lines {
			if n > linesPerUser {
				linesOfUser.to(l.log, append(l.userFields(user), keyLines.of(n-linesPerUser))...)
			}
		}
	}
	return nil
}

// Round implements [controller.Observer].
func (l *eventLog) Round(reason api.Reason, r api.Report, took time.Duration) {
	if l.log.Enabled(context.Background(), serversInspected.level) {
		l.write(userOf(r.Servers), serversInspected, keyReason.of(string(reason)), keyPlanned.of(len(r.Plan)), keyServers.of(Verdicts(r)), keyTook.of(took))
	}
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

// Refused implements [controller.Observer]. That another sender was first is usual.
func (l *eventLog) Refused(m rollout.Member, err error) {
	line := serverRefused
	if errors.Is(err, selector.ErrSignalledByOther) {
		line = serverLeft
	}
	l.write(int64(m.UID), line, keyPID.of(m.PID), keyInstall.of(l.installOf(m.Rollout)), keyRollout.of(m.Rollout), keyError.of(err))
}

// Trouble implements [controller.Observer].
func (l *eventLog) Trouble(err error) { serviceTrouble.to(l.log, keyError.of(err)) }

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
