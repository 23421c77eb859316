// SPDX-License-Identifier: MIT

package controller_test

import (
	"context"
	"syscall"
	"time"

	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/selector"
)

func (w *world) Inspect(pid selector.PID, _ selector.Rule, _ time.Time) (selector.Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var stale *selector.Process
	if p := w.processes[pid]; p != nil && w.slowLook != nil {
		takes := w.slowLook(*p)
		if w.isStale {
			was := *p
			stale = &was
		}
		w.mu.Unlock()
		time.Sleep(takes)
		w.mu.Lock()
	}
	w.looks[pid]++
	p, lives := w.processes[pid]
	switch {
	case w.fails != nil:
		return selector.Process{}, w.fails
	case !lives:
		return selector.Process{}, selector.ErrGone
	}
	read := *p
	if stale != nil {
		read = *stale
	}
	if w.secret[pid] {
		why := selector.Unreadable{Fact: selector.FactCmdline, Why: "held", IsTemporary: true}
		return selector.Process{Identity: p.Identity, Age: p.Age, Credentials: p.Credentials, Unreadable: why}, nil
	}
	if w.unread != nil && w.unread(w.looks[pid]) || w.unreadable != nil && w.unreadable(pid, w.looks[pid]) {
		read.Unreadable = selector.Unreadable{Fact: selector.FactTarget, Why: "no answer"}
	}
	read.Target = selector.File{Image: w.files[p.Path].Image, Mode: 0o100755}
	return read, nil
}

func (w *world) User(pid selector.PID) (selector.Identity, selector.User, error) {
	w.mu.Lock()
	takes := w.slowUser
	if p := w.processes[pid]; p != nil && w.slowOwner != nil {
		takes += w.slowOwner(p.Credentials.Owner.UID)
	}
	w.mu.Unlock()
	time.Sleep(takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	p, lives := w.processes[pid]
	if !lives {
		return selector.Identity{}, selector.User{}, selector.ErrGone
	}
	return p.Identity, p.Credentials.Owner, nil
}

// target is one process of the world, pinned.
type target struct {
	w    *world
	pid  selector.PID
	user uint32
}

func (t target) Signal(syscall.Signal) error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.signals[t.pid] = append(t.w.signals[t.pid], time.Now())
	if t.w.onSignal != nil {
		t.w.onSignal(t.pid)
	}
	t.w.sending[t.user]++
	t.w.maxSending = max(t.w.maxSending, t.w.sending[t.user])
	takes := t.w.slowSignal
	t.w.mu.Unlock()
	time.Sleep(takes)
	t.w.mu.Lock()
	t.w.sending[t.user]--
	return nil
}

func (target) Close() error { return nil }

func (w *world) pin(pid selector.PID) (deliver.Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := target{w: w, pid: pid}
	if p := w.processes[pid]; p != nil {
		t.user = p.Credentials.Owner.UID
	}
	return t, nil
}

func (t target) Wait(ctx context.Context) (selector.Exit, error) {
	t.w.mu.Lock()
	ended := t.w.ended[t.pid]
	t.w.mu.Unlock()
	select {
	case exit := <-ended:
		return exit, nil
	case <-ctx.Done():
		return selector.Exit{}, ctx.Err()
	}
}

func (w *world) Trace(pid selector.PID) (selector.Trace, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.traces[pid], w.blind
}
