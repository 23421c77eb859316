// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
)

// yielding are limits that let a service of the host go first, which may exist and cannot be seen from a PID namespace:
// until its whole rollout is over. Its canaries take that long at most with the default limits; the last second is for the
// others to exec. That its signals may be seen here is not enough: it may scan, and not see the servers of this namespace.
func yielding(l rollout.Limits) rollout.Limits {
	host := rollout.DefaultLimits()
	l.Yield = host.QuietWithin + host.CanaryTimeout + 2*host.Hold + time.Second
	l.RetryAfter += l.Yield
	return l
}

// openState reads what the last process left: the journal, and an operator's pause. Where the journal cannot be read the
// service does not start, because the last process may just have signalled any server.
func openState(cfg *Config, c *controller.Config) (done func(), err error) {
	file, saved, err := journal.Open(cfg.RunDir, cfg.journalName())
	switch {
	case errors.Is(err, journal.ErrForeign):
		journalReplaced.to(cfg.Log, keyError.of(err))
	case err != nil:
		return nil, err
	}
	pause := journal.NewPause(cfg.StateDir, cfg.journalName())
	pauses, err := pause.Read()
	if err != nil {
		pauseUnknown.to(cfg.Log, keyError.of(err))
	}
	c.Journal, c.Saved, c.Pauses, c.KeepPauses = file, saved, pauses, keepPauses(pause)
	return func() { _ = file.Close() }, nil
}

// keepPausesWithin limits how long an operator waits for the disk that keeps a pause.
const keepPausesWithin = 2 * time.Second

// keepPauses returns a function that keeps what is paused. A frozen file system may hold the write for any time: the
// function fails after 2 s, and the file has the latest state once the file system answers.
func keepPauses(file journal.Pause) func(rollout.Pauses) error {
	var wanted atomic.Pointer[rollout.Pauses]
	var writing sync.Mutex
	return func(pauses rollout.Pauses) error {
		wanted.Store(&pauses)
		return withTimeout(keepPausesWithin, func() error {
			writing.Lock()
			defer writing.Unlock()
			return file.Write(*wanted.Load())
		})
	}
}
