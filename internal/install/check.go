// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

const (
	// fileTimeout is how long a check waits for a file system.
	fileTimeout = time.Second
	// promptTimeout is the same for a caller that must not block for long.
	promptTimeout = 100 * time.Millisecond
)

// timedOut is the result for a file system that does not answer.
func timedOut(path RootedPath) selector.Install {
	return selector.Install{Path: path.Path, State: selector.StateUnready, Detail: "the file system does not answer"}
}

// Check returns the install at a path now. It does not wait until the file has settled. It blocks for a second at most. It has
// no error: a file that cannot be examined is unready, with the reason. A thread that is blocked by a file system ends when
// that answers.
//
// Check opens the file and its interpreters, unless the cache of the Checker has them. Servers that watch their directory take
// an open for an install.
func (c *Checker) Check(path RootedPath) selector.Install {
	return c.checkInTime(path.absolute())
}

// Stat is [Checker.Check] without an open. The content of the file is not checked, and Interpreters is empty.
func Stat(path RootedPath) selector.Install {
	var opensNothing *Checker
	return opensNothing.checkInTime(path.absolute())
}

func (c *Checker) checkInTime(path RootedPath) selector.Install {
	if i, ok := within(fileTimeout, func() selector.Install { return c.check(path) }); ok {
		return i
	}
	return timedOut(path)
}

// check is Check without a limit of time. A nil Checker opens no file.
func (c *Checker) check(path RootedPath) selector.Install {
	root, err := path.open()
	if err != nil {
		return noRoot(path.Path, err)
	}
	defer func() { _ = unix.Close(root) }()
	s := path.inspector(root, c)
	i, _ := s.inspect(path.Path)
	return i
}

// within returns the result of f, if f returns within limit. Otherwise f goes on in its goroutine.
func within[T any](limit time.Duration, f func() T) (result T, ok bool) {
	var late T
	done := make(chan struct{})
	go func() {
		defer close(done)
		late = f()
	}()
	if !sys.WaitFor(done, limit) {
		return result, false
	}
	return late, true
}

// pendingCheck has the result of a check once done is closed.
type pendingCheck struct {
	done    chan struct{}
	install selector.Install
}

// Check returns the install now. It blocks for 100 ms at most: a file that cannot be checked by then is unready, with that as
// the reason.
func (w *Watcher) Check() selector.Install {
	if p := w.joinCheck(); sys.WaitFor(p.done, promptTimeout) {
		return p.install
	}
	return timedOut(w.path)
}

// joinCheck starts a check, or joins the one that runs.
func (w *Watcher) joinCheck() *pendingCheck {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending != nil {
		return w.pending
	}
	p := &pendingCheck{done: make(chan struct{}), install: timedOut(w.path)}
	w.pending = p
	go func() {
		w.budget.run(w.stop, func() { p.install = w.hub.checker.check(w.path) })
		w.mu.Lock()
		w.pending = nil
		w.mu.Unlock()
		close(p.done)
	}()
	return p
}
