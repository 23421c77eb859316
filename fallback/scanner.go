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
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// Scanner walks one /proc for processes of one pattern. It is safe for concurrent use.
type Scanner struct {
	procfs  *procfs.FS
	pattern selector.Pattern
}

// New returns a Scanner over procfs, which must stay open as long as it is used.
func New(procfs *procfs.FS, p selector.Pattern) *Scanner {
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
// command line cannot be had, or not soon. It fails only when /proc cannot be listed, or when ctx ends.
//
// All cores read: the first processes while the kernel lists the others, which is a tenth of the time.
func (s *Scanner) Candidates(ctx context.Context) ([]selector.PID, error) {
	listed, all := make(chan []selector.PID, 64), make(chan struct{})
	c := &crew{scanner: s, listed: listed, readers: make(map[*reader]bool), held: make(map[uint32]time.Duration)}
	for range runtime.GOMAXPROCS(0) {
		c.hire(ctx, nil)
	}
	go func() {
		defer close(all)
		c.left.Wait()
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(ctx, all)
	}()
	err := s.list(ctx, func(some []selector.PID) { listed <- some })
	close(listed)
	<-watched
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("scan: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(c.found)
	return c.found, nil
}

// list gives all processes to take, some at a time.
func (s *Scanner) list(ctx context.Context, take func([]selector.PID)) error {
	// A descriptor of its own, because a walk moves the position.
	fd, err := unix.Openat(s.procfs.Descriptor(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	for some, err := range procfs.NumbersInParts(fd) {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		take(some)
	}
	return nil
}

// firstRead holds most command lines; a longer one takes another read.
const firstRead = 4 << 10

// mayBeServer says what the answer to a read of a command line makes of a process.
func (s *Scanner) mayBeServer(pid selector.PID, cmdline []byte, err error) bool {
	switch {
	case errors.Is(err, procfs.ErrGone):
		return false // processes end, also while they are listed
	case err != nil:
		return true
	case len(cmdline) == 0:
		return s.procfs.HidesCmdline(pid)
	}
	_, server := s.pattern.Match(cmdline)
	return server
}
