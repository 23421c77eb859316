// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxQueued is how many bytes of log lines wait for their reader: some 3,000 lines.
	maxQueued = 1 << 20
	// closeLogWithin limits how long the end of the service waits for the reader of the log.
	closeLogWithin = time.Second
)

// Log is a writer of log lines that never blocks. A goroutine passes the lines on. A reader that stands still or goes away,
// and a full disk, cost lines and nothing else. Dropped lines are counted, and the count is written as soon as the
// underlying writer accepts lines again. Its methods may be called concurrently. The caller must call Close.
type Log struct {
	to io.Writer
	// direct writes to the underlying writer. Only the goroutine uses it.
	direct slog.Handler
	wake   chan struct{}
	done   chan struct{}

	mu     sync.Mutex // guards the rest
	queued []byte
	closed bool
	// dropped counts all dropped lines, unsaid those of them that the log does not mention yet.
	dropped, unsaid uint64
}

// NewLog returns a Log that passes its lines on to a writer. handler formats records for a writer, one write for each.
func NewLog(to io.Writer, handler func(io.Writer) slog.Handler) *Log {
	l := &Log{to: to, direct: handler(to), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.pass()
	return l
}

// Write queues one line. It never fails.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queued)+len(line) > maxQueued {
		l.dropped++
		l.unsaid++
		return len(line), nil
	}
	l.queued = append(l.queued, line...)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Dropped counts the lines that were not written.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes what is queued. It returns after a second at the latest.
func (l *Log) Close() {
	l.mu.Lock()
	isFirst := !l.closed
	l.closed = true
	l.mu.Unlock()
	if isFirst {
		close(l.wake)
	}
	select {
	case <-l.done:
	case <-time.After(closeLogWithin):
	}
}

// pass writes what is queued until the log is closed.
func (l *Log) pass() {
	defer close(l.done)
	torn := false // the last line was not written to its end
	for range l.wake {
		l.mu.Lock()
		lines := l.queued
		l.queued = nil
		l.mu.Unlock()
		if torn {
			lines = append([]byte{'\n'}, lines...)
		}
		n, err := l.to.Write(lines)
		if err != nil {
			torn = n > 0 && lines[n-1] != '\n' || torn && n == 0
			l.lose(uint64(bytes.Count(lines[n:], []byte{'\n'})))
			continue
		}
		torn = false
		l.say()
	}
}

func (l *Log) lose(lines uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += lines
	l.unsaid += lines
}

// say writes how many lines were dropped since it last did.
func (l *Log) say() {
	l.mu.Lock()
	lines := l.unsaid
	l.mu.Unlock()
	if lines == 0 {
		return
	}
	if l.direct.Handle(context.Background(), linesUnread.record([]slog.Attr{keyLines.of(lines)})) == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.unsaid -= lines
	}
}
