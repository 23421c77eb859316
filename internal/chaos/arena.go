// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/chaos/witness"
)

// arena is where everything happens.
type arena struct {
	config
	installs []*install
	fleet    *fleet
	children *starter
	service  *service
	// seeds gives each source of trouble choices of its own.
	seeds  *rand.Rand
	result result
	mu     sync.Mutex // guards result in a storm
}

// asArena plays, and writes the result to stdout.
func asArena(text string) error {
	a := &arena{}
	if err := json.Unmarshal([]byte(text), &a.config); err != nil {
		return err
	}
	salt := uint64(0)
	if a.FewNumbers {
		salt = 1
	}
	a.seeds = rand.New(rand.NewPCG(a.Seed, salt)) //nolint:gosec // to be repeated, not to be secret
	a.result = result{FewNumbers: a.FewNumbers, Installs: map[string]int{}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := a.play(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(a.result)
}

// choices are those of one source of trouble.
func (a *arena) choices() *rand.Rand {
	return rand.New(rand.NewPCG(a.seeds.Uint64(), a.seeds.Uint64())) //nolint:gosec // see above
}

func (a *arena) play(ctx context.Context) (err error) {
	if err := a.prepare(); err != nil {
		return err
	}
	w, err := witness.Open()
	if err != nil {
		return err
	}
	defer func() {
		records, closing := w.Close()
		if err = errors.Join(err, closing); err == nil {
			a.judge(records)
		}
	}()
	defer a.fleet.stop()
	a.say("%d servers start", a.Servers)
	if err := a.fleet.fill(ctx, a.choices(), a.Servers); err != nil {
		return err
	}
	if err := a.service.start(small); err != nil {
		return err
	}
	first, err := a.stormAndQuiet(ctx, 5)
	if err == nil {
		_, err = a.stormAndQuiet(ctx, 0)
	}
	if err == nil {
		err = a.seeksLeaks(first)
	}
	return errors.Join(err, a.service.end(unix.SIGTERM))
}

// broken notes that a rule was broken, and says so at once.
func (a *arena) broken(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	a.say("BROKEN: %s", sentence)
	a.result.Violations = append(a.result.Violations, sentence)
}

// say tells whoever waits.
func (a *arena) say(format string, args ...any) {
	where := "host's numbers"
	if a.FewNumbers {
		where = "few numbers"
	}
	fmt.Fprintf(os.Stderr, "%s (%s) %s\n", time.Now().Format(time.TimeOnly), where, fmt.Sprintf(format, args...))
}

// prepare makes the directories and the installs.
func (a *arena) prepare() error {
	crash := filepath.Join(a.Dir, "crasher")
	if err := crasher(crash, a.Server); err != nil {
		return err
	}
	a.children = newStarter()
	a.service = &service{children: a.children, program: a.Program, dir: filepath.Join(a.Dir, fmt.Sprintf("service-%t", a.FewNumbers))}
	installs := filepath.Join(a.Dir, fmt.Sprintf("installs-%t", a.FewNumbers))
	// The state has little room, which is easily filled.
	for dir, size := range map[string]string{a.service.path("state"): "256k", installs: "4g"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		mode := "0700"
		if dir == installs {
			mode = "0755"
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode="+mode+",size="+size); err != nil {
			return fmt.Errorf("mount %q: %w", dir, err)
		}
	}
	for n := range 4 {
		in, err := newInstall(filepath.Join(installs, strconv.Itoa(n)), n%2 == 1, a.Server, crash)
		if err != nil {
			return err
		}
		a.installs = append(a.installs, in)
	}
	a.fleet = &fleet{server: a.Server, installs: a.installs}
	return nil
}

// stormAndQuiet lets all troubles loose for half of the time, and waits until everybody has reached what is
// installed. Of ten troubles of the service, so many are restarts.
func (a *arena) stormAndQuiet(ctx context.Context, restarts int) (holdings, error) {
	a.say("storm; troubles of the service that are a restart: %d of 10", restarts)
	storm, over := context.WithTimeout(ctx, a.For/2)
	defer over()
	if err := cmp.Or(a.storm(storm, restarts), ctx.Err()); err != nil {
		return holdings{}, err
	}
	if restarts > 0 { // the instance of the next storm, too
		if err := errors.Join(a.service.end(unix.SIGTERM), a.service.start(smallRing)); err != nil {
			return holdings{}, err
		}
	}
	a.say("quiet")
	if err := a.quiet(ctx); err != nil {
		return holdings{}, err
	}
	return a.holds()
}

func (a *arena) holds() (holdings, error) {
	h, err := a.service.holds()
	h.Named, h.Outdated = named(), a.fleet.outdated()
	return h, err
}

// storm runs all sources of trouble at the same time.
func (a *arena) storm(ctx context.Context, restarts int) error {
	troubles := []func(context.Context, *rand.Rand) error{
		func(ctx context.Context, r *rand.Rand) error { return a.fleet.replaceTheDead(ctx, r, a.Servers) },
		a.fleet.trouble,
		func(ctx context.Context, r *rand.Rand) error { return a.fleet.askedByOthers(ctx, r, a.Other) },
		func(ctx context.Context, r *rand.Rand) error { return a.service.trouble(ctx, r, restarts) },
		a.service.fillDisk,
		a.clockJumps,
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
		r := a.choices()
		wg.Go(func() { errs[n] = trouble(ctx, r) })
	}
	wg.Wait()
	a.fleet.awake()
	return errors.Join(errs...)
}

// install installs one thing after the other.
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
	if err := a.children.start(cmd); err != nil {
		return err
	}
	<-ctx.Done()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil
}

// clockJumps sets the clock to another time for a moment, and back.
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

// patience is how long a quiet may take.
const patience = 2 * time.Minute

// quiet installs a good file everywhere, and waits until all who are armed run it.
func (a *arena) quiet(ctx context.Context) error {
	if err := a.fleet.fill(ctx, a.choices(), a.Servers); err != nil {
		return err
	}
	for _, in := range a.installs {
		if err := in.upgrade(); err != nil {
			return err
		}
	}
	begun := time.Now()
	for {
		behind := a.fleet.behind()
		if len(behind) == 0 {
			a.result.reached(time.Since(begun))
			return nil
		}
		if time.Since(begun) > patience {
			a.broken("%s after the last install, %d servers do not run it: %s",
				patience, len(behind), strings.Join(behind, "; "))
			return nil
		}
		if !pause(ctx, a.seeds, 50*time.Millisecond, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// seeksLeaks compares what the last instance holds after the second quiet with what it held after the first.
// What is being closed gets some time.
func (a *arena) seeksLeaks(before holdings) error {
	begun := time.Now()
	for {
		now, err := a.holds()
		if err != nil {
			return err
		}
		leaks := now.more(before)
		if len(leaks) == 0 || time.Since(begun) > patience/2 {
			for _, leak := range leaks {
				a.broken("%s", leak)
			}
			a.result.Before, a.result.After = before, now
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}
