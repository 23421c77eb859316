// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/ragrat/agents"
)

const (
	// patience limits every wait that is not measured.
	patience = time.Minute
	// interval is the time between two observations of the servers, and the precision of the times of execs.
	interval = 10 * time.Millisecond
	// gathers is longer than the servers' own trigger collects events, and longer than its signal can be late.
	gathers = 2500 * time.Millisecond
	// user is a user number that test/ragrat does not use: the servers' own trigger signals all servers of a user.
	user = 100
)

// setting is what a row is measured with.
type setting struct {
	program      string
	serviceFlags []string
	// from and to are binaries. They have the same version in a row with one schema.
	from, to []byte
}

// client is one agent with its server.
type client struct {
	*agents.Client
	// execAt is when the server was first observed to run the file of the round.
	execAt time.Time
}

// observe notes when the server runs a file.
func (c *client) observe(file agents.Image) {
	if now, err := c.Image(); c.execAt.IsZero() && err == nil && now == file {
		c.execAt = time.Now()
	}
}

// trial is a row that is measured: a user with repositories, sessions in them, and a service unless the row has none.
type trial struct {
	agents.Host
	row
	setting
	user    *agents.User
	dirs    []string
	clients []*client
	// gone are the clients that lost their server.
	gone []*client
	// The callers call until calling ends, which stop does.
	calling context.Context
	stop    context.CancelFunc
	callers sync.WaitGroup
	// longer is the size of the installed file relative to that of the other one.
	longer bool
}

// newTrial makes everything but the sessions. The caller must close it, also after an error.
func newTrial(ctx context.Context, r row, s setting) (*trial, error) {
	t := &trial{row: r, setting: s, stop: func() {}}
	var err error
	if t.Host, err = agents.NewHost("sessions-"); err != nil {
		return t, err
	}
	// Not in the home, which restore removes.
	if t.user, err = t.AddUser(user, t.SharedFile(), s.from); err != nil {
		return t, err
	}
	for n := range r.worktrees() {
		dir, err := t.user.Worktree(ctx, fmt.Sprintf("worktree-%d", n), r.index())
		if err != nil {
			return t, err
		}
		t.dirs = append(t.dirs, dir)
	}
	if err := copyTree(ctx, t.user.Home, t.homeCopy()); err != nil || r.upgrader == ownTrigger {
		return t, err
	}
	return t, t.Serve(ctx, s.program, patience, append(r.flags(), s.serviceFlags...))
}

// homeCopy is the path of a copy of the home, with the indexes of the old version.
func (t *trial) homeCopy() string { return filepath.Join(t.Dir, "copy") }

func copyTree(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

func (t *trial) close() error {
	t.stopSessions()
	return t.Close()
}

// restore installs the old version and its indexes again.
func (t *trial) restore(ctx context.Context) error {
	return errors.Join(
		os.RemoveAll(t.user.Home), copyTree(ctx, t.homeCopy(), t.user.Home), agents.Put(t.user.Installed, t.from, t.user.UID),
	)
}

// startSessions starts the sessions. Their clients call once all servers are ready.
func (t *trial) startSessions(ctx context.Context) error {
	t.calling, t.stop = context.WithCancel(ctx)
	fresh, err := t.replaceGone(ctx)
	if err != nil {
		return err
	}
	t.startCalls(fresh)
	return nil
}

func (t *trial) startCalls(clients []*client) {
	for _, c := range clients {
		t.callers.Go(func() { c.CallUntil(t.calling) })
	}
}

// replaceGone starts a session for each missing one, and waits until every server can be upgraded.
func (t *trial) replaceGone(ctx context.Context) (fresh []*client, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range t.row.sessions() {
		if i < len(t.clients) && !t.clients[i].Gone() {
			continue
		}
		s, err := t.user.Start(t.dirs[i%len(t.dirs)], t.stdio(), append(t.environment(), t.user.Variable())...)
		if err != nil {
			return fresh, err
		}
		c := &client{Client: agents.NewClient(s, t.rhythm.of(s), reportFailure)}
		fresh = append(fresh, c)
		if i < len(t.clients) {
			t.gone, t.clients[i] = append(t.gone, t.clients[i]), c
		} else {
			t.clients = append(t.clients, c)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	errs := make([]error, len(fresh))
	var all sync.WaitGroup
	for i, c := range fresh {
		all.Go(func() {
			if errs[i] = c.Connect(ctx); errs[i] == nil {
				errs[i] = c.AwaitAnswer(ctx, 100*time.Millisecond)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fresh, err
	}
	return fresh, t.awaitReady(ctx)
}

func reportFailure(err error) { fmt.Fprintln(os.Stderr, "sessions: a call failed:", err) }

// awaitReady waits until each living server is armed and, if the servers' own trigger is on, until each repository has an
// elected server.
func (t *trial) awaitReady(ctx context.Context) error {
	all := t.all()
	return poll.Until(ctx, interval, func() string {
		missing := agents.NotArmed(all)
		if missing == "" && t.upgrader != service {
			missing = agents.NotElected(all, all)
		}
		return missing
	})
}

func (t *trial) all() []*agents.Session {
	var all []*agents.Session
	for _, c := range t.clients {
		all = append(all, c.Session)
	}
	return all
}

// stopSessions waits for the end of the calls in flight, and stops the sessions.
func (t *trial) stopSessions() {
	t.stop()
	t.callers.Wait()
	agents.StopAll(t.all())
	t.gone, t.clients = append(t.gone, t.clients...), nil
}
