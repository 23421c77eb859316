// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"errors"
	"path/filepath"
	"sync"
	"time"
)

const (
	// minCost is what the shortest entry costs. Beyond that an entry costs its bytes, so that a limit of costs is one of
	// bytes and of entries.
	minCost = 512
	// maxPending bounds the bytes that wait for the disk.
	maxPending = 1 << 20
	// openWithin is how long [Open] waits for the file system.
	openWithin = 2 * time.Second
)

// costOf is what a line counts.
func costOf(bytes int) int { return max(bytes, minCost) }

// Config says what a [Store] keeps.
type Config struct {
	// Dir is made with mode 0700 where it is missing. Name is the part of the files' names before the dot.
	Dir, Name string
	// Most bounds the bytes of each file. A file has Most/512 entries at most. It is at least 1 MiB.
	Most int
	// Report is called with the first of several errors in a row, by any goroutine; nil says that entries are written again.
	Report func(error)
}

// Store keeps entries. Its methods may be called concurrently.
type Store struct {
	cfg    Config
	wake   chan struct{}
	closed chan struct{} // closed by Close
	ended  chan struct{} // closed by the writer

	mu sync.Mutex // guards the rest, and is never held while the disk is used
	// pending are the lines that the writer has yet to take, and pendingCost is their cost.
	pending     []byte
	pendingCost int
	allowances  allowances
	lost        uint64
	// unread says what could not be read at the start, and unwritten why nothing can be written.
	unread, unwritten error
}

// Open returns a Store with what an earlier one has kept. It waits for the file system for 2 s at most. It never
// fails: for what cannot be read, see [Store.Err]. The caller must Close the Store.
func Open(cfg Config) (*Store, []Entry) {
	s := &Store{cfg: cfg, wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{})}
	type result struct {
		entries []Entry
		err     error
	}
	read := make(chan result, 1)
	go func() {
		entries, err := Read(cfg.Dir, cfg.Name, cfg.Most)
		read <- result{entries, err}
	}()
	select {
	case got := <-read:
		s.unread = got.err
		if got.err != nil {
			cfg.Report(got.err)
		}
		go (&writer{store: s, isDamaged: got.err != nil}).run()
		return s, got.entries
	case <-time.After(openWithin):
		// Nothing is written: numbers would begin anew, and replace entries that could not be read.
		s.unread = errors.New("the file system does not answer: nothing is kept until the next start")
		cfg.Report(s.unread)
		close(s.ended)
		return s, nil
	}
}

// Append adds an entry. It does not wait.
func (s *Store) Append(e Entry) {
	line, err := e.line()
	s.mu.Lock()
	defer s.mu.Unlock()
	cost := costOf(len(line))
	if err != nil || len(line) > maxLine || len(s.pending)+len(line) > maxPending || !s.allowances.take(e.User, cost, time.Now()) {
		s.lost++
		return
	}
	s.pending = append(s.pending, line...)
	s.pendingCost += cost
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns the pending lines with their cost.
func (s *Store) take() (lines []byte, cost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, cost = s.pending, s.pendingCost
	s.pending, s.pendingCost = nil, 0
	return lines, cost
}

// Err says why entries are not kept, or what could not be read at the start; nil: all is well.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwritten != nil {
		return s.unwritten
	}
	return s.unread
}

// Lost counts the entries that were not kept: too many for their user, too long, or while the disk could not be written.
func (s *Store) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// written takes the result of a write, and reports changes.
func (s *Store) written(err error) {
	s.mu.Lock()
	before := s.unwritten
	s.unwritten = err
	s.mu.Unlock()
	if (before == nil) != (err == nil) {
		s.cfg.Report(err)
	}
}

// Close writes what is pending, and ends the Store. It waits for the disk for a limited time. Further entries are lost.
func (s *Store) Close(within time.Duration) {
	close(s.closed)
	select {
	case <-s.ended:
	case <-time.After(within):
	}
}

func newPath(dir, name string) string { return filepath.Join(dir, name+".jsonl") }
func oldPath(dir, name string) string { return filepath.Join(dir, name+".old.jsonl") }
