// SPDX-License-Identifier: MIT

//go:build linux

package fallback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

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
	var all []selector.PID
	err := s.list(ctx, func(some []selector.PID) { all = append(all, some...) })
	slices.Sort(all)
	return all, err
}

// Candidates lists the processes whose command line matches the pattern, ascending, and those whose
// command line cannot be had. It fails only when /proc cannot be listed, or when ctx ends.
//
// All cores read: the first processes while the kernel lists the others, which is a tenth of the time.
func (s *Scanner) Candidates(ctx context.Context) ([]selector.PID, error) {
	var (
		listed = make(chan []selector.PID, 64)
		wg     sync.WaitGroup
		mu     sync.Mutex // guards found
		found  []selector.PID
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, firstRead)
			var own []selector.PID
			for pids := range listed {
				if ctx.Err() == nil {
					own = s.matching(own, pids, buf)
				}
			}
			mu.Lock()
			found = append(found, own...)
			mu.Unlock()
		})
	}
	err := s.list(ctx, func(some []selector.PID) { listed <- some })
	close(listed)
	wg.Wait()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("scan: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	return found, nil
}

// list gives all processes to take, some at a time.
func (s *Scanner) list(ctx context.Context, take func([]selector.PID)) error {
	// A descriptor of its own, because a walk moves the position.
	fd, err := unix.Openat(s.procfs.Descriptor(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for some, err := range proc.NumbersInParts(fd) {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		take(some)
	}
	return nil
}

// firstRead holds most command lines; a longer one takes another read.
const firstRead = 4 << 10

// matching appends those of the processes that match.
func (s *Scanner) matching(found, pids []selector.PID, buf []byte) []selector.PID {
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
