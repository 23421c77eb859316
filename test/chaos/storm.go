// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stormAndQuiet runs all faults for half of the time, and waits until all servers run the installed file. Of ten
// faults of the service, so many are restarts.
func (a *arena) stormAndQuiet(ctx context.Context, name string, restarts int) error {
	a.printf("%s storm; %d of 10 faults of the service are restarts", name, restarts)
	storm, over := context.WithTimeout(ctx, a.For/2)
	defer over()
	if err := cmp.Or(a.storm(storm, a.choices(name+" storm"), restarts), ctx.Err()); err != nil {
		return err
	}
	if restarts > 0 { // this instance also serves the next storm
		a.service.end(unix.SIGTERM)
		if err := a.service.start(smallRing); err != nil {
			return err
		}
	}
	a.printf("quiet")
	return a.quiet(ctx, a.choices(name+" quiet"))
}

// storm runs all sources of faults at the same time.
func (a *arena) storm(ctx context.Context, seeds *rand.Rand, restarts int) error {
	troubles := []func(context.Context, *rand.Rand) error{
		func(ctx context.Context, r *rand.Rand) error { return a.fleet.replaceEnded(ctx, r, a.Servers) },
		a.fleet.trouble,
		func(ctx context.Context, r *rand.Rand) error { return a.fleet.signalledByOthers(ctx, r, a.Other) },
		func(ctx context.Context, r *rand.Rand) error { return a.service.trouble(ctx, r, restarts) },
		a.service.fillDisk,
		func(ctx context.Context, r *rand.Rand) error {
			return a.service.log.stand(ctx, r, func() { a.count(func(r *result) { r.SlowLogs++ }) })
		},
		a.hostile,
	}
	if a.Host {
		troubles = append(troubles, a.clockJumps, a.takeInstances)
	}
	for _, in := range a.installs {
		troubles = append(troubles, func(ctx context.Context, r *rand.Rand) error { return a.install(ctx, r, in) })
	}
	for cpu := range runtime.NumCPU() {
		troubles = append(troubles, func(ctx context.Context, _ *rand.Rand) error { return a.churns(ctx, cpu) })
	}
	errs := make([]error, len(troubles))
	var wg sync.WaitGroup
	for n, trouble := range troubles {
		r := rand.New(rand.NewPCG(seeds.Uint64(), seeds.Uint64())) //nolint:gosec // see choices
		wg.Go(func() { errs[n] = trouble(ctx, r) })
	}
	wg.Wait()
	a.fleet.resume()
	return errors.Join(errs...)
}

// install makes random changes to an install until ctx ends.
func (a *arena) install(ctx context.Context, r *rand.Rand, in *install) error {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for pause(ctx, r, 500*time.Millisecond, 4*time.Second) {
		chosen := r.IntN(total)
		for _, k := range kinds {
			if chosen -= k.weight; chosen >= 0 {
				continue
			}
			if err := k.do(in, ctx, r); err != nil {
				return fmt.Errorf("install %s: %w", k.name, err)
			}
			a.count(func(r *result) { r.Installs[k.name]++ })
			break
		}
	}
	return nil
}

func (a *arena) count(one func(*result)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one(&a.result)
}

// churns forks and execs on one CPU until ctx ends.
func (a *arena) churns(ctx context.Context, cpu int) error {
	rate := strconv.Itoa(max(1, a.Churn/runtime.NumCPU()))
	cmd := exec.Command("/proc/self/exe", "churn", rate, strconv.Itoa(cpu))
	cmd.Stderr = os.Stderr
	var counts bytes.Buffer
	cmd.Stdout = &counts
	if err := a.children.start(cmd); err != nil {
		return err
	}
	<-ctx.Done()
	_ = cmd.Process.Signal(unix.SIGTERM)
	var started, failed int
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("end the churn: %w", err)
	}
	if _, err := fmt.Fscan(&counts, &started, &failed); err != nil {
		return fmt.Errorf("read the counts of the churn: %w", err)
	}
	a.count(func(r *result) { r.Churned, r.ChurnFailed = r.Churned+started, r.ChurnFailed+failed })
	return nil
}

// clockJumps sets the clock to another time for a moment, again and again until ctx ends.
func (a *arena) clockJumps(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, time.Second, 5*time.Second) {
		if err := jump(ctx, r); err != nil {
			return fmt.Errorf("set the clock: %w", err)
		}
		a.count(func(r *result) { r.Jumps++ })
	}
	return nil
}

func jump(ctx context.Context, r *rand.Rand) error {
	lock, err := locked(clockLock, unix.LOCK_EX) // another run's jump in between would be lost
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	by := time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour
	move := func(by time.Duration) error {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			return err
		}
		then := unix.NsecToTimespec(now.Nano() + int64(by))
		return unix.ClockSettime(unix.CLOCK_REALTIME, &then)
	}
	if err := move(by); err != nil {
		return err
	}
	pause(ctx, r, 0, 300*time.Millisecond)
	return move(-by)
}
