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
	"slices"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

const (
	// patience is how long anything is waited for that is not measured.
	patience = time.Minute
	// looks is the time between two looks at the servers: the times of execs are as exact as that.
	looks = 10 * time.Millisecond
	// gathers is how long the servers' own trigger gathers events, and longer than a signal of it comes late.
	gathers = 2500 * time.Millisecond
	// user is the number of a user that test/ragrat does not use: the servers' own trigger signals all of a user's.
	user = 100
)

// setting is what a row is measured with.
type setting struct {
	program      string
	serviceFlags []string
	// from and to are binaries. They are the same version in a row of one schema.
	from, to []byte
}

// world is a user with repositories, sessions in them, and perhaps a service, for one row.
type world struct {
	row
	setting
	dir     string
	user    *agents.User
	dirs    []string
	service *agents.Service
	clients []*client
	// gone are those whose server has ended.
	gone []*client
	// callers call until calling ends, which stop does.
	calling context.Context
	stop    context.CancelFunc
	callers sync.WaitGroup
	// longer makes the next file differ from the one that stands there.
	longer bool
}

// newWorld makes everything but the sessions. The caller must close it, also after an error.
func newWorld(ctx context.Context, r row, s setting) (*world, error) {
	w := &world{row: r, setting: s, stop: func() {}}
	var err error
	if w.dir, err = os.MkdirTemp("", "sessions-"); err != nil {
		return w, err
	}
	installed := filepath.Join(w.dir, "bin", "rag-rat")
	if err := errors.Join(os.Chmod(w.dir, 0o755), os.Mkdir(filepath.Dir(installed), 0o755)); err != nil {
		return w, err
	}
	if w.user, err = agents.NewUser(w.dir, user, installed); err != nil {
		return w, err
	}
	if err := errors.Join(w.user.Own(filepath.Dir(installed)), agents.Put(installed, s.from, w.user.UID)); err != nil {
		return w, err
	}
	for n := range r.worktrees() {
		dir, err := w.user.Worktree(ctx, fmt.Sprintf("worktree-%d", n), r.index())
		if err != nil {
			return w, err
		}
		w.dirs = append(w.dirs, dir)
	}
	if err := copyTree(ctx, w.user.Home, w.kept()); err != nil || r.way == ownTrigger {
		return w, err
	}
	flags := append(r.flags(), s.serviceFlags...)
	if w.service, err = agents.NewService(s.program, filepath.Join(w.dir, "service"), patience, flags, []*agents.User{w.user}); err != nil {
		return w, err
	}
	return w, w.service.Start(ctx)
}

// kept is where a copy of the home is, with the indexes as the old version left them.
func (w *world) kept() string { return filepath.Join(w.dir, "kept") }

func copyTree(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

func (w *world) close() error {
	w.finish()
	var err error
	if w.service != nil {
		err = w.service.End(syscall.SIGTERM)
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// restore puts back the old version and its indexes.
func (w *world) restore(ctx context.Context) error {
	return errors.Join(
		os.RemoveAll(w.user.Home), copyTree(ctx, w.kept(), w.user.Home), agents.Put(w.user.Installed, w.from, w.user.UID),
	)
}

// begin starts the sessions, and has their clients call once all are ready.
func (w *world) begin(ctx context.Context) error {
	w.calling, w.stop = context.WithCancel(ctx)
	fresh, err := w.replenish(ctx)
	if err != nil {
		return err
	}
	w.let(fresh)
	return nil
}

// let has clients call.
func (w *world) let(clients []*client) {
	for _, c := range clients {
		w.callers.Go(func() { c.callOn(w.calling) })
	}
}

// replenish starts a session for each that is missing, and waits until every server can be upgraded.
func (w *world) replenish(ctx context.Context) (fresh []*client, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range w.sessions() {
		if i < len(w.clients) && !w.clients[i].Gone() {
			continue
		}
		s, err := w.user.Start(w.dirs[i%len(w.dirs)], w.stdio(), append(w.environment(), w.user.Variable())...)
		if err != nil {
			return fresh, err
		}
		c := &client{Session: s, rhythm: w.rhythm}
		fresh = append(fresh, c)
		if i < len(w.clients) {
			w.gone, w.clients[i] = append(w.gone, w.clients[i]), c
		} else {
			w.clients = append(w.clients, c)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	errs := make([]error, len(fresh))
	var all sync.WaitGroup
	for i, c := range fresh {
		all.Go(func() { errs[i] = c.start(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fresh, err
	}
	return fresh, until(ctx, "the servers are not ready for an upgrade", w.ready)
}

// start initializes the session, and waits until a call was answered: several that start at a time find the index
// locked.
func (c *client) start(ctx context.Context) error {
	if err := c.Connect(ctx); err != nil {
		return err
	}
	for {
		answer, err := c.Call(ctx)
		if answer == agents.Answered {
			return nil
		}
		if c.Gone() || wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("the first call of %d: %w", c.PID(), err)
		}
	}
}

// ready says that each server that lives has its handler, and that one of each repository watches the folder of the
// installed file if the servers' own trigger is on.
func (w *world) ready() bool {
	dir, err := agents.ImageAt(filepath.Dir(w.user.Installed))
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(w.clients, func(c *client) bool {
		if c.Gone() {
			return false
		}
		return !c.armed() || w.way != service && !slices.ContainsFunc(w.clients, func(other *client) bool {
			return other.Dir == c.Dir && agents.Watches(other.PID(), dir)
		})
	})
}

// until waits for something, and says what did not happen.
func until(ctx context.Context, what string, happened func() bool) error {
	for !happened() {
		if err := wait(ctx, looks); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// finish ends the calls, and the sessions when they are over.
func (w *world) finish() {
	w.stop()
	w.callers.Wait()
	var stopped sync.WaitGroup
	for _, c := range w.clients {
		stopped.Go(c.Stop)
	}
	stopped.Wait()
	w.gone, w.clients = append(w.gone, w.clients...), nil
}
