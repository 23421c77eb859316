// SPDX-License-Identifier: MIT

//go:build linux

package fallback

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/proc"
	"ebpf-upgrader/selector"
)

// Scanner walks one /proc for processes of one pattern. It is safe for concurrent use.
type Scanner struct {
	procfs  *proc.FS
	pattern selector.Pattern
}

// New returns a Scanner over procfs, which must stay open as long as it is used.
func New(procfs *proc.FS, p selector.Pattern) *Scanner {
	return &Scanner{procfs: procfs, pattern: p}
}

// All lists every process, ascending: nothing is read of any.
func (s *Scanner) All(ctx context.Context) ([]selector.PID, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	// A descriptor of its own, because a walk moves the position.
	fd, err := unix.Openat(s.procfs.Descriptor(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	pids, err := proc.Numbers(fd, nil)
	if err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	slices.Sort(pids)
	return pids, nil
}

// share is how many processes a worker takes at a time: enough that the workers hardly meet, few
// enough that none is left alone at the end.
const share = 64

// Candidates lists the processes whose command line matches the pattern, ascending, and those whose
// command line cannot be had. It fails only when /proc cannot be listed, or when ctx ends.
func (s *Scanner) Candidates(ctx context.Context) ([]selector.PID, error) {
	pids, err := s.All(ctx)
	if err != nil {
		return nil, err
	}
	shares := slices.Collect(slices.Chunk(pids, share))
	found := make([][]selector.PID, len(shares))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(shares)) {
		wg.Go(func() {
			buf := make([]byte, firstRead)
			for i := next.Add(1) - 1; i < int64(len(shares)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				found[i] = s.matching(shares[i], buf)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	return slices.Concat(found...), nil
}

// firstRead holds most command lines; a longer one takes another read.
const firstRead = 4 << 10

func (s *Scanner) matching(pids []selector.PID, buf []byte) []selector.PID {
	var found []selector.PID
	for _, pid := range pids {
		if s.mayBeServer(pid, buf) {
			found = append(found, pid)
		}
	}
	return found
}

func (s *Scanner) mayBeServer(pid selector.PID, buf []byte) bool {
	cmdline, err := s.procfs.Cmdline(pid, s.pattern, buf)
	switch {
	case errors.Is(err, proc.ErrGone):
		return false // processes end, also while they are listed
	case err != nil:
		return true
	case len(cmdline) == 0:
		return s.procfs.HidesCmdline(pid)
	}
	_, server := s.pattern.Match(cmdline)
	return server
}
