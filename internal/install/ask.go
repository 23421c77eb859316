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
	// answerWithin is how long a file system may take before it passes for one that does not answer.
	answerWithin = time.Second
	// promptly is the same for whoever serves others meanwhile.
	promptly = 100 * time.Millisecond
)

// noAnswer is what stands in a file system that does not answer.
func noAnswer(way RootedPath) selector.Install {
	return selector.Install{Path: way.Path, State: selector.StateUnready, Detail: "the file system does not answer"}
}

// Check says what stands at the end of a way now, without waiting for it to come to rest. It blocks no
// longer than a second, and has no error: what cannot be looked at is unready, with the reason. A
// thread that waits for a file system ends when that answers.
//
// It opens the file and its interpreters, which servers that watch their folder take for an install.
func Check(way RootedPath) selector.Install {
	way = way.absolute()
	return inTime(way, func() selector.Install { return check(way, newAnswers()) })
}

// Glance is Check without an open: what the files have in them is not asked, and Interpreters are not known.
func Stat(way RootedPath) selector.Install {
	way = way.absolute()
	return inTime(way, func() selector.Install {
		return along(way, nil, func(s sight) selector.Install { return s.glance(way.Path) })
	})
}

func inTime(way RootedPath, ask func() selector.Install) selector.Install {
	i, ok := within(answerWithin, ask)
	if !ok {
		return noAnswer(way)
	}
	return i
}

func check(way RootedPath, a *answers) selector.Install {
	return along(way, a, func(s sight) selector.Install {
		i, _ := s.look(way.Path)
		return i
	})
}

// along looks from the root of a way.
func along(way RootedPath, a *answers, look func(sight) selector.Install) selector.Install {
	root, err := way.open()
	if err != nil {
		return rootless(way.Path, err)
	}
	defer func() { _ = unix.Close(root) }()
	return look(way.sight(root, a))
}

// within returns what ask returns, if it does so in time.
func within[T any](limit time.Duration, ask func() T) (answer T, ok bool) {
	var late T
	done := make(chan struct{})
	go func() {
		defer close(done)
		late = ask()
	}()
	if !sys.WaitFor(done, limit) {
		return answer, false
	}
	return late, true
}

// answer is what a look says, once it is known.
type answer struct {
	known   chan struct{}
	install selector.Install
}

// Check says what stands there now. It blocks no longer than 100 ms: what cannot be looked at by then
// is unready, with that as the reason.
func (w *Watcher) Check() selector.Install {
	if a := w.check(); sys.WaitFor(a.known, promptly) {
		return a.install
	}
	return noAnswer(w.way)
}

// check joins a look that is under way: there is never more than one.
func (w *Watcher) check() *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checked != nil {
		return w.checked
	}
	a := &answer{known: make(chan struct{}), install: noAnswer(w.way)}
	w.checked = a
	go func() {
		w.owner.do(w.stop, func() { a.install = check(w.way, w.hub.answers) })
		w.mu.Lock()
		w.checked = nil
		w.mu.Unlock()
		close(a.known)
	}()
	return a
}
