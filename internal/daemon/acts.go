// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/metrics"
	"ebpf-upgrader/internal/rollout"
)

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

// acted returns a function that makes an event and a line of the log from each act of an operator.
func (s *service) acted(feed *control.Feed, counts *metrics.Metrics) func(api.Act) {
	return func(a api.Act) {
		e := control.Event{
			Act: string(a.Kind), By: &a.By.UID, PID: a.By.PID, Detail: a.By.Reason, Path: a.Path, UID: a.User,
		}
		feed.Acted(e)
		s.events.Acted(e)
		counts.Acted(e.Act)
	}
}
