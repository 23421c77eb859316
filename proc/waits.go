// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// answerWithin is how long a file system may take to find a file.
const answerWithin = time.Second

// mostStuck is how many look-ups may wait for file systems that do not answer. Each holds a thread
// of this process for as long as that lasts.
const mostStuck = 64

var (
	errNoAnswer  = errors.New("the file system did not answer within " + answerWithin.String())
	errManyStuck = errors.New("too many file systems do not answer")
)

// waits asks file systems that may never answer. It remembers for which processes it gave up, so
// that these cost a second once and not in every round. The zero value is ready for use.
type waits struct {
	mu sync.Mutex
	// stuck are the processes with a look-up that was given up and has not ended. Guarded by mu.
	stuck map[selector.Identity]bool
}

// within returns what ask says, or gives up after a second. It closes fd, on which ask works, when
// ask has ended. A goroutine that was given up ends when the file system answers or is unmounted.
func (w *waits) within(id selector.Identity, fd int, ask func() (selector.File, error)) (selector.File, error) {
	if err := w.refuses(id); err != nil {
		_ = unix.Close(fd)
		return selector.File{}, err
	}
	type answer struct {
		file selector.File
		err  error
	}
	answers := make(chan answer) // unbuffered: an answer is taken, or the asker knows that it was not
	givenUp := make(chan struct{})
	go func() {
		f, err := ask()
		_ = unix.Close(fd)
		select {
		case answers <- answer{f, err}:
		case <-givenUp:
			w.forget(id)
		}
	}()
	limit := time.NewTimer(answerWithin)
	defer limit.Stop()
	select {
	case a := <-answers:
		return a.file, a.err
	case <-limit.C:
		w.remember(id)
		close(givenUp)
		return selector.File{}, errNoAnswer
	}
}

func (w *waits) refuses(id selector.Identity) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stuck[id]:
		return errNoAnswer
	case len(w.stuck) >= mostStuck:
		return errManyStuck
	}
	return nil
}

func (w *waits) remember(id selector.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck == nil {
		w.stuck = make(map[selector.Identity]bool)
	}
	w.stuck[id] = true
}

func (w *waits) forget(id selector.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.stuck, id)
}
