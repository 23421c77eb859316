// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ebpf-upgrader/internal/journal"
)

// service is a service of this program that runs in this process.
type service struct {
	socket, stateDir string
	// messages is what it writes, if it runs in this process.
	messages *syncBuffer
	// stop ends it as an operator does, and waits for its end.
	stop func()
	// kill ends one that is a process of its own.
	kill func()
}

// newService is one that has yet to be started.
func newService(t *testing.T) *service {
	t.Helper()
	// Not t.TempDir: the path of a socket must be short.
	dir, err := os.MkdirTemp("", "ebpf-upgrader-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &service{socket: filepath.Join(dir, "s"), stateDir: filepath.Join(dir, "state")}
}

// serve runs the service on this install until the test ends.
func (s *scene) serve(source string, args ...string) *service {
	s.t.Helper()
	return serveAt(s.t, s.Path(), source, args...)
}

func serveAt(t *testing.T, path, source string, args ...string) *service {
	t.Helper()
	return newService(t).again(t, path, source, args...)
}

// again runs a service on what s has left.
func (s *service) again(t *testing.T, path, source string, args ...string) *service {
	t.Helper()
	next := &service{socket: s.socket, stateDir: s.stateDir}
	t.Cleanup(func() { removeJournal(path) })
	next.serve(t, append(next.args(path, source), args...))
	return next
}

// removeJournal removes what the services of an install have kept in the run directory that they share.
func removeJournal(path string) {
	kept, _ := filepath.Glob(filepath.Join((&options{}).runPath(), "*-"+journal.Key(path)+".json*"))
	for _, file := range kept {
		_ = os.Remove(file)
	}
}

func (s *service) serve(t *testing.T, all []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	messages := &syncBuffer{}
	s.messages = messages
	go func() { done <- run(ctx, all, messages, messages) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != exitOK || t.Failed() {
			t.Errorf("%v ended with %d:\n%s", all, code, messages)
		}
	})
	t.Cleanup(s.stop)
}

// args are those of a service that loses no time.
func (s *service) args(path, source string) []string {
	return []string{
		"run", "--install-path", path, "--source", source, "--settle", "20ms", "--scan-every", "200ms",
		"--hold", "200ms", "--socket", s.socket, "--state-dir", s.stateDir,
	}
}

// syncBuffer takes what several goroutines write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
