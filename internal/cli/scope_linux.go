// SPDX-License-Identifier: MIT

package cli

import (
	"sync"
	"time"

	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// targets checks what servers of the widest scope would exec: that need not be the file that the operator
// named, which is all that anybody else checks. It is safe for concurrent use.
type targets struct {
	procfs *procfs.FS
	// check opens nothing, until it is set to what does so once for each file.
	check func(install.RootedPath) selector.Install

	mu sync.Mutex
	// slow are the users whose file systems are not asked again before that.
	slow map[uint32]time.Time
}

const (
	// slowTarget is far longer than a look at a file takes, and slowPause how long nobody waits for files of a
	// user again who had one that took it: else each look at each of his servers would.
	slowTarget = 100 * time.Millisecond
	slowPause  = time.Minute
)

func newTargets(procfs *procfs.FS) *targets {
	return &targets{procfs: procfs, check: install.Stat, slow: make(map[uint32]time.Time)}
}

// matters reports whether it has to be known if the target can be exec'd.
func matters(p selector.Process) bool {
	return p.Target.Known() && p.Image.Known() && p.TargetProblem == "" && p.Target.Image != p.Image
}

// problem says why a process must not be asked to exec its target, or nothing.
func (t *targets) problem(p selector.Process) string {
	owner := p.Credentials.Owner
	switch {
	case p.Path == "":
		return "cannot be told from outside"
	case t.isSlow(owner):
		return "files of its user took too long"
	}
	begin := time.Now()
	found := t.check(wayOf(t.procfs, p))
	t.took(owner, time.Since(begin))
	switch {
	case found.State != selector.StateReady:
		return found.Detail
	case found.Image != p.Target.Image:
		return "has just changed"
	}
	return ""
}

func (t *targets) isSlow(user uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.slow[user])
}

func (t *targets) took(user uint32, d time.Duration) {
	if d < slowTarget {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slow[user] = time.Now().Add(slowPause)
}
