// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
)

// measure upgrades the sessions of a row round after round, until it has made a number of upgrades.
func measure(ctx context.Context, r row, s setting, upgrades int, f *figures) (err error) {
	t, err := newTrial(ctx, r, s)
	defer func() { err = errors.Join(err, t.close()) }()
	if err != nil {
		return err
	}
	f.Sessions = r.sessions()
	for round := 0; f.Upgrades < upgrades; round++ {
		before := f.Upgrades
		if err := t.prepare(ctx, round); err != nil {
			return err
		}
		if err := t.round(ctx, f); err != nil {
			return err
		}
		if f.Upgrades == before {
			return t.withLog(errNoUpgrade)
		}
		if r.newSchema {
			t.stopSessions()
		}
	}
	t.stopSessions()
	for _, c := range t.gone {
		f.tally.Add(c.Tally())
	}
	f.summarize()
	return nil
}

// prepare makes sessions that run the old file call. With one schema, the sessions of the round before go on, and
// only those without a server are replaced.
func (t *trial) prepare(ctx context.Context, round int) error {
	if round > 0 && !t.newSchema {
		fresh, err := t.replaceGone(ctx)
		t.startCalls(fresh)
		return err
	}
	if t.newSchema {
		if err := t.restore(ctx); err != nil {
			return err
		}
	}
	if err := t.startSessions(ctx); err != nil {
		return err
	}
	// The servers' own trigger must not take the starts for the install, and the clients must get out of step.
	return poll.Sleep(ctx, gathers)
}

// round installs a file, waits until every server runs it, and counts.
func (t *trial) round(ctx context.Context, f *figures) error {
	refused := t.refused()
	for _, c := range t.clients {
		c.execAt = time.Time{}
	}
	installedAt := time.Now()
	if err := agents.Put(t.user.Installed, t.nextFile(), t.user.UID); err != nil {
		return err
	}
	file, err := agents.ImageAt(t.user.Installed)
	if err != nil {
		return err
	}
	for limit := installedAt.Add(t.timeLimit()); time.Now().Before(limit) && t.pending(file); {
		if err := poll.Sleep(ctx, interval); err != nil {
			return err
		}
	}
	t.count(f, installedAt)
	if err := t.awaitRest(ctx); err != nil {
		return err
	}
	f.Rounds++
	f.WorstRefused = max(f.WorstRefused, t.refused()-refused)
	return nil
}

// timeLimit is the time after which a server counts as missed. The service signals a server again after a minute if it did
// not drain in time.
func (t *trial) timeLimit() time.Duration {
	if t.rhythm == longCall {
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// nextFile returns the content of the next file: the newer version, or alternately the running version with additional
// bytes and without them.
func (t *trial) nextFile() []byte {
	if t.newSchema {
		return t.to
	}
	t.longer = !t.longer
	if t.longer {
		return append(bytes.Clone(t.from), "another file"...)
	}
	return t.from
}

// pending reports whether a living server does not run the file yet.
func (t *trial) pending(file agents.Image) (pending bool) {
	for _, c := range t.clients {
		c.observe(file)
		pending = pending || c.execAt.IsZero() && !c.Gone()
	}
	return pending
}

func (t *trial) count(f *figures, installedAt time.Time) {
	var last time.Duration
	for _, c := range t.clients {
		switch {
		case c.Gone():
			f.Ended++
		case c.execAt.IsZero():
			f.Missed++
			fmt.Fprintf(os.Stderr, "sessions: server %d in %s was not upgraded, SIGUSR1: %s\n", c.PID(), c.Dir, agents.DispositionOf(c.PID()))
		default:
			f.Upgrades++
			f.waits = append(f.waits, c.execAt.Sub(installedAt))
			last = max(last, c.execAt.Sub(installedAt))
		}
	}
	f.lasts = append(f.lasts, last)
}

// awaitRest waits until the sessions are as they were before the round: armed, without a call that an exec has thrown
// away, and without a signal on its way.
func (t *trial) awaitRest(ctx context.Context) error {
	begin := time.Now()
	if err := poll.Until(ctx, interval, t.lostCall); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.awaitReady(limited); err != nil {
		return err
	}
	err := poll.Until(limited, interval, func() string {
		if t.RollingOut(limited) {
			return "the rollout has not ended"
		}
		return ""
	})
	if err != nil {
		return t.withLog(err)
	}
	if t.upgrader != service {
		return poll.Sleep(ctx, time.Until(begin.Add(gathers)))
	}
	return nil
}

// lostCall names a call in flight that began before an exec of its server. It is empty if there is none.
func (t *trial) lostCall() string {
	for _, c := range t.clients {
		if !c.execAt.IsZero() && !c.Gone() && c.InFlightSince(c.execAt.Add(interval)) {
			return fmt.Sprintf("a lost call to server %d goes on", c.PID())
		}
	}
	return ""
}

// errNoUpgrade ends a row that would not end otherwise, because a halted rollout upgrades no server.
var errNoUpgrade = errors.New("a round led to no upgrade")

// withLog adds the log of the service to an error.
func (t *trial) withLog(err error) error {
	if t.Service == nil {
		return err
	}
	return fmt.Errorf("%w; log of the service:\n%s", err, t.Service.Log())
}

// refused returns how many calls of all sessions have been refused so far.
func (t *trial) refused() (n int) {
	for _, c := range append(t.gone, t.clients...) {
		n += c.Tally().Refused
	}
	return n
}
