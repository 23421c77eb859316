// SPDX-License-Identifier: MIT

//go:build linux

package fallback

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// Scanner lists the processes of one /proc that match a pattern. It is safe for concurrent use.
type Scanner struct {
	procfs  *procfs.FS
	pattern selector.Pattern
}

// New returns a Scanner over procfs, which must stay open while the Scanner is used.
func New(procfs *procfs.FS, p selector.Pattern) *Scanner {
	return &Scanner{procfs: procfs, pattern: p}
}

// All lists every process in ascending order. It reads no process.
func (s *Scanner) All(ctx context.Context) ([]selector.PID, error) {
	var all []selector.PID
	if err := s.list(ctx, func(pids []selector.PID) { all = append(all, pids...) }); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	slices.Sort(all)
	return all, nil
}

// Candidates lists the processes that may match the pattern, in ascending order. A process with a command line that cannot
// be read, or not in time, is a candidate. Candidates fails only when /proc cannot be listed, or when ctx ends.
//
// All cores read. The first processes are read while the kernel lists the others, which takes a tenth of the time.
func (s *Scanner) Candidates(ctx context.Context) ([]selector.PID, error) {
	listed, finished := make(chan []selector.PID, 64), make(chan struct{})
	p := &pool{Scanner: s, listed: listed, active: make(map[*reader]bool), spent: make(map[selector.User]time.Duration)}
	for range runtime.GOMAXPROCS(0) {
		p.spawn(ctx, nil)
	}
	go func() {
		defer close(finished)
		p.readers.Wait()
	}()
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(ctx, finished) })
	err := s.list(ctx, func(pids []selector.PID) { listed <- pids })
	close(listed)
	watch.Wait()
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	slices.Sort(p.found)
	return p.found, nil
}

// list passes all processes to take, in batches.
func (s *Scanner) list(ctx context.Context, take func([]selector.PID)) error {
	// A descriptor of its own, because listing moves the position.
	fd, err := unix.Openat(s.procfs.Descriptor(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for pids, err := range procfs.PIDBatches(fd) {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		take(pids)
	}
	return nil
}

// firstRead is the buffer size of the first read, which holds most command lines. A longer one takes another read.
const firstRead = 4 << 10
