// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hostileTasks is how many processes and threads the hostile user may have: RLIMIT_NPROC.
const hostileTasks = 150

// takePIDs forks until the user has no PIDs left, and prints 1: forks DIR mcp. It ends its processes at SIGTERM.
func takePIDs(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	debug.SetGCPercent(-1) // which needs threads, that the limit concerns as well
	limit := unix.Rlimit{Cur: hostileTasks, Max: 10 * hostileTasks}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return err
	}
	var pids []int
	var err error
	for err == nil && len(pids) < hostileTasks {
		var pid int
		pid, err = syscall.ForkExec(idleIn(dir), []string{"rag-rat", "infinity", "mcp"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}})
		if err == nil {
			pids = append(pids, pid)
		}
	}
	limit.Cur = limit.Max
	_ = unix.Setrlimit(unix.RLIMIT_NPROC, &limit)
	if errors.Is(err, unix.EAGAIN) {
		fmt.Println(1)
	} else {
		fmt.Println(0)
	}
	<-ctx.Done()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return nil
}

// takeThreads has the runtime start n threads, which it keeps: it aborts when it cannot start one, as while the PIDs are used
// up. One thread waits for the end of each server.
func takeThreads(n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() { _ = unix.Nanosleep(&unix.Timespec{Sec: 1}, nil) }) // each is a thread that waits
	}
	all.Wait()
}

// takeInstances takes all inotify instances that root may have, for moments until ctx ends. A service that starts meanwhile
// has none.
func (a *arena) takeInstances(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, time.Second, 4*time.Second) {
		var taken []int
		var err error
		for err == nil {
			var fd int
			if fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err == nil {
				taken = append(taken, fd)
			}
		}
		pause(ctx, r, 500*time.Millisecond, 3*time.Second)
		for _, fd := range taken {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, unix.EMFILE) {
			return fmt.Errorf("take all inotify instances: %w", err)
		}
		a.count(func(r *result) { r.NoInstances++ })
	}
	return nil
}
