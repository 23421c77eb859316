// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// measure upgrades the sessions of a row again and again, until that many upgrades were made.
func measure(ctx context.Context, r row, s setting, upgrades int, f *figures) (err error) {
	w, err := newWorld(ctx, r, s)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return err
	}
	f.Sessions = r.sessions()
	for round := 0; f.Upgrades < upgrades; round++ {
		before := f.Upgrades
		if err := w.prepare(ctx, round); err != nil {
			return err
		}
		if err := w.round(ctx, f); err != nil {
			return err
		}
		if f.Upgrades == before {
			return w.said(errNoUpgrade)
		}
		if r.newSchema {
			w.finish()
		}
	}
	w.finish()
	for _, c := range w.gone {
		f.tally.add(c.tally)
	}
	f.take()
	return nil
}

// prepare has sessions call that run the old file. Where the schema stays the same they do already after the first
// round, and only those are replaced whose server has ended.
func (w *world) prepare(ctx context.Context, round int) error {
	if round > 0 && !w.newSchema {
		fresh, err := w.replenish(ctx)
		w.let(fresh)
		return err
	}
	if w.newSchema {
		if err := w.restore(ctx); err != nil {
			return err
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	// The servers' own trigger is not to take the starts for the install, and the clients are to be out of step.
	return wait(ctx, gathers)
}

// round installs a file, waits until every server runs it, and counts.
func (w *world) round(ctx context.Context, f *figures) error {
	refused := w.refused()
	for _, c := range w.clients {
		c.execAt = time.Time{}
	}
	landed := time.Now()
	if err := agents.Put(w.user.Installed, w.next(), w.user.UID); err != nil {
		return err
	}
	file, err := agents.ImageAt(w.user.Installed)
	if err != nil {
		return err
	}
	for limit := landed.Add(w.atLast()); time.Now().Before(limit) && w.pending(file); {
		if err := wait(ctx, looks); err != nil {
			return err
		}
	}
	w.count(f, landed)
	if err := w.rest(ctx); err != nil {
		return err
	}
	f.Rounds++
	f.WorstRefused = max(f.WorstRefused, w.refused()-refused)
	return nil
}

// atLast is when a server counts as missed that has not been upgraded by then. A service signals one again that has
// not drained in time, after a minute.
func (w *world) atLast() time.Duration {
	if w.rhythm == longCall {
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// next is the file that lands: the newer version, or what runs already with more bytes and fewer in turns.
func (w *world) next() []byte {
	if w.newSchema {
		return w.to
	}
	w.longer = !w.longer
	if w.longer {
		return append(bytes.Clone(w.from), "another file"...)
	}
	return w.from
}

// pending says that a server lives that does not run the file yet.
func (w *world) pending(file agents.Image) (pending bool) {
	for _, c := range w.clients {
		c.look(file)
		pending = pending || c.execAt.IsZero() && !c.Gone()
	}
	return pending
}

func (w *world) count(f *figures, landed time.Time) {
	var last time.Duration
	for _, c := range w.clients {
		switch {
		case c.Gone():
			f.Ended++
		case c.execAt.IsZero():
			f.Missed++
			fmt.Fprintf(os.Stderr, "sessions: server %d in %s was not upgraded, SIGUSR1: %s\n", c.PID(), c.Dir, agents.DispositionOf(c.PID()))
		default:
			f.Upgrades++
			f.waits = append(f.waits, c.execAt.Sub(landed))
			last = max(last, c.execAt.Sub(landed))
		}
	}
	f.lasts = append(f.lasts, last)
}

// rest waits until the sessions are as they were before the round: armed, with no call left that an exec has
// swallowed, and nothing on its way.
func (w *world) rest(ctx context.Context) error {
	execs := time.Now()
	for _, c := range w.clients {
		if c.execAt.IsZero() {
			continue
		}
		if err := until(ctx, "a lost call goes on", func() bool { return c.Gone() || !c.waits(c.execAt.Add(looks)) }); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := until(limited, "the servers are not armed again", w.ready); err != nil {
		return err
	}
	if w.service != nil {
		if err := until(limited, "the service is not done", func() bool { return w.done(limited) }); err != nil {
			return w.said(err)
		}
	}
	if w.way != service {
		return wait(ctx, time.Until(execs.Add(gathers)))
	}
	return nil
}

// errNoUpgrade ends a row: a rollout that is halted would not end otherwise.
var errNoUpgrade = errors.New("a round led to no upgrade")

// said adds what the service did.
func (w *world) said(err error) error {
	if w.service == nil {
		return err
	}
	return fmt.Errorf("%w; the service said:\n%s", err, w.service.Log())
}

// done says that the service's rollout is over.
func (w *world) done(ctx context.Context) bool {
	phase := w.service.Phase(ctx, []string{w.user.Installed})
	return !strings.Contains(phase, "canary") && !strings.Contains(phase, "rolling")
}

func (w *world) refused() (n int) {
	for _, c := range append(w.gone, w.clients...) {
		n += c.refused()
	}
	return n
}
