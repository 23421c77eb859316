// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

// arena runs one storm of faults after the other in a namespace, and collects the result.
type arena struct {
	config
	installs []*install
	fleet    *fleet
	children *starter
	service  *service
	// hostileDir is the directory of the hostile user's installs. It ends with a slash.
	hostileDir string
	result     result
	mu         sync.Mutex // guards result in a storm
}

// runArena runs an arena and writes its result to stdout.
func runArena(text string) error {
	a := &arena{}
	if err := json.Unmarshal([]byte(text), &a.config); err != nil {
		return err
	}
	a.result = result{FewPIDs: a.FewPIDs, Limited: a.limited(), For: a.For, Host: a.Host, Installs: map[string]int{}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	takeThreads(2 * a.Servers)
	if err := a.play(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(a.result)
}

// choices returns the random choices of a phase. They do not depend on the number of choices in other phases, which
// depends on time.
func (c config) choices(phase string) *rand.Rand {
	name := fnv.New64a()
	_, _ = fmt.Fprint(name, c.FewPIDs, phase)          // a hash never fails
	return rand.New(rand.NewPCG(c.Seed, name.Sum64())) //nolint:gosec // reproducible, not secret
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
		if closing == nil {
			a.judge(records)
		}
		err = errors.Join(err, closing)
	}()
	defer a.fleet.stop()
	a.printf("starting %d servers", a.Servers)
	if err := a.fleet.fill(ctx, a.choices("fill"), a.Servers); err != nil {
		return err
	}
	if err = a.service.start(small); err == nil {
		err = a.storms(ctx)
	}
	if err != nil && a.service.gone() { // a finding, not a failure of this program; the judge reports how it ended
		a.broken("the service has ended: %v", err)
		err = nil
	}
	a.service.end(unix.SIGTERM)
	return err
}

func (a *arena) storms(ctx context.Context) error {
	if err := a.stormAndQuiet(ctx, "first", 5); err != nil {
		return err
	}
	before, err := a.rest(ctx, a.Patience/4, func(holdings) bool { return true })
	if err != nil {
		return err
	}
	if err := a.stormAndQuiet(ctx, "second", 0); err != nil {
		return err
	}
	return a.checkLeaks(ctx, before)
}

// judge checks all rules.
func (a *arena) judge(records []witness.Record) {
	j := judge{serverInfos: a.fleet.serverInfos(), instances: a.service.instances, broken: a.broken, result: &a.result}
	j.records(records)
	a.judgeLog()
	a.result.Tasks = a.service.tasks.end()
	for _, in := range a.installs {
		a.result.Mounts += in.mounts
	}
	a.result.Upgrades, a.result.Servers = a.fleet.upgrades(), len(a.fleet.all)
	a.result.Instances, a.result.Losses = len(a.service.instances), a.service.losses
}

func (a *arena) judgeLog() {
	log, err := os.Open(a.service.path("log"))
	if err != nil {
		return // the service was never started
	}
	defer func() { _ = log.Close() }()
	if found := alarms(log); len(found) > 0 {
		a.broken("the log of the service has %d alarms, the first: %s", len(found), found[0])
	}
}

// broken records a broken rule, and prints it at once.
func (a *arena) broken(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	a.printf("BROKEN: %s", sentence)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.result.Violations = append(a.result.Violations, sentence)
}

// printf prints progress to stderr.
func (a *arena) printf(format string, args ...any) {
	where := "host's PIDs"
	if a.FewPIDs {
		where = "few PIDs"
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
	a.service = &service{
		children: a.children, program: a.Program, dir: filepath.Join(a.Dir, fmt.Sprintf("service-%t", a.FewPIDs)),
		broken: a.broken, patience: 30 * time.Second,
	}
	var err error
	if a.service.tasks, err = newTasks(); err != nil {
		return err
	}
	installs := filepath.Join(a.Dir, fmt.Sprintf("installs-%t", a.FewPIDs))
	// The file system of the journal can be filled quickly. It has room for the 40 MB that a journal reaches before it is
	// rewritten: the service signals nothing that the journal cannot hold.
	for dir, size := range map[string]string{a.service.path("run"): "64m", installs: "4g"} {
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
	mounted, err := newMounted(filepath.Join(installs, "mounted"), a.Server, crash)
	if err != nil {
		return err
	}
	a.installs = append(a.installs, mounted)
	a.fleet = &fleet{server: a.Server, installs: a.installs}
	return a.prepareHostile(installs)
}

// quietPoll is the longest time between two looks at the servers. Patience is measured by such looks: where the machine is so busy
// that they take longer, the service has more time, but mostPatience times as much at most.
const (
	quietPoll    = 100 * time.Millisecond
	mostPatience = 5
)

// quiet installs a good file at every path, and waits until all armed servers run it.
func (a *arena) quiet(ctx context.Context, r *rand.Rand) error {
	if err := a.fleet.fill(ctx, r, a.Servers); err != nil {
		return err
	}
	for n, in := range a.installs {
		install := in.upgrade
		if n == 0 {
			install = func() error { return in.recreate(ctx, r) }
		}
		if err := install(); err != nil {
			return err
		}
	}
	begun, waited := time.Now(), time.Duration(0)
	for {
		q, behind := a.fleet.behind()
		if len(behind) == 0 {
			q.After = time.Since(begun).Round(time.Millisecond).String()
			a.result.Quiets = append(a.result.Quiets, q)
			return nil
		}
		if waited > a.Patience || time.Since(begun) > mostPatience*a.Patience {
			a.leftOld(behind)
			return nil
		}
		if !pause(ctx, r, 50*time.Millisecond, quietPoll) {
			return ctx.Err()
		}
		waited += quietPoll
	}
}

// checkLeaks compares what the last instance holds after the second quiet phase with what it held after the first.
// Descriptors and goroutines that are being closed get some time.
func (a *arena) checkLeaks(ctx context.Context, before holdings) error {
	now, err := a.rest(ctx, a.Patience/2, func(now holdings) bool { return len(now.more(before)) == 0 })
	if err != nil {
		return err
	}
	for _, leak := range now.more(before) {
		a.broken("%s", leak)
	}
	a.result.Before, a.result.After = before, now
	return nil
}
