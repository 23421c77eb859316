// SPDX-License-Identifier: MIT

package controller

import (
	"context"

	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/selector"
)

// exitWatch waits for the exits of the servers that were signalled, where no event of the kernel tells of them.
type exitWatch struct {
	// isNeeded says that no event does.
	isNeeded bool
	exits    chan selector.Event
	// watched has the servers; each entry ends the wait.
	watched map[selector.PID]context.CancelFunc
}

// watch waits for the exit of a process. The pin belongs to the goroutine that waits.
func (w *exitWatch) watch(ctx context.Context, pid selector.PID, target deliver.Target) {
	w.stop(pid)
	ctx, cancel := context.WithCancel(ctx)
	w.watched[pid] = cancel
	go func() {
		defer func() { _ = target.Close() }()
		exit, err := target.Wait(ctx)
		if err != nil { // stopped
			return
		}
		select {
		case w.exits <- selector.Event{Kind: selector.EventExit, PID: pid, Exit: exit}:
		case <-ctx.Done():
		}
	}()
}

func (w *exitWatch) stop(pid selector.PID) {
	if cancel := w.watched[pid]; cancel != nil {
		cancel()
		delete(w.watched, pid)
	}
}
