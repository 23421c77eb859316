// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"time"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// ReportNow checks the install now, and returns it. A ready file is also reported, without waiting until it has settled. It
// blocks for 100 ms at most: a file that cannot be checked by then is unready, with that as the reason, and is reported later.
func (w *Watcher) ReportNow() selector.Install {
	p := &pendingCheck{done: make(chan struct{}), install: timedOut(w.path)}
	limit := time.NewTimer(promptTimeout)
	defer limit.Stop()
	select {
	case w.prompts <- p:
		if sys.WaitFor(p.done, promptTimeout) {
			return p.install
		}
	case <-limit.C:
	case <-w.stop:
	}
	return timedOut(w.path)
}

// answer does what ReportNow asks for.
func (w *Watcher) answer(p *pendingCheck) {
	defer close(p.done)
	found, v := w.inspect()
	if found.State == selector.StateReady {
		w.reportChange(found, v)
	}
	p.install = found
}
