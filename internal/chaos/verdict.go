// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/chaos/witness"
	"ebpf-upgrader/internal/testfleet"
)

// life is one process: numbers are used again.
type life struct {
	pid int32
	// start is in clock ticks, as in /proc/PID/stat.
	start uint64
}

// ticks is how many nanoseconds a clock tick has for user space: USER_HZ is 100 on all that Go runs on.
const ticks = uint64(time.Second) / 100

func lifeOf(r witness.Record) life { return life{r.Process, r.Start / ticks} }

const (
	// slack is how long a file may stand at a path before the service must know: its last look comes right
	// before the signal, and both CPUs have a lot to do.
	slack = uint64(500 * time.Millisecond)
	// near is how soon after another sender's signal ours may come: that one may not be in our ring yet.
	near = uint64(20 * time.Millisecond)
	// exitExecFailed is what a server exits with whose exec failed.
	exitExecFailed = 70
)

// judge says which rules were broken.
func (a *arena) judge(records []witness.Record) {
	slices.SortStableFunc(records, func(x, y witness.Record) int { return int(int64(x.At - y.At)) })
	homes := a.homes()
	signals := map[life][]witness.Record{}
	lives := map[int32]map[uint64]bool{}
	for _, r := range records {
		if lives[r.Process] == nil {
			lives[r.Process] = map[uint64]bool{}
		}
		lives[r.Process][r.Start] = true
		switch r.Kind {
		case witness.Signalled:
			signals[lifeOf(r)] = append(signals[lifeOf(r)], r)
			a.judgeSignal(r, homes[lifeOf(r)])
		case witness.Ended:
			a.judgeEnd(r, signals[lifeOf(r)], homes[lifeOf(r)])
		}
	}
	for _, of := range lives {
		a.result.NumberReuse = max(a.result.NumberReuse, len(of))
	}
	a.judgeCanaries()
	a.result.Upgrades, a.result.Servers = a.fleet.upgrades(), len(a.fleet.all)
	a.result.Instances = len(a.service.instances)
}

// homes says what each server would exec.
func (a *arena) homes() map[life]*install {
	homes := map[life]*install{}
	for _, m := range a.fleet.all {
		for _, e := range m.Events() {
			if e.Kind == testfleet.Started || e.Kind == testfleet.Daemonised {
				homes[life{int32(e.PID), e.StartTime}] = m.install
			}
		}
	}
	return homes
}

// judgeSignal holds for each signal of the service: whoever gets it is a server of the fleet and has a
// handler, and what he will exec is something that can be exec'd.
func (a *arena) judgeSignal(r witness.Record, home *install) {
	by := a.service.sent(r.Sender, r.At)
	if by == nil {
		a.result.SignalsOfOthers++
		return
	}
	a.result.Signals++
	if r.Disposition() != witness.Handled {
		a.broken("process %d was signalled by the service and has no handler", r.Process)
	}
	if home == nil {
		a.broken("process %d was signalled by the service and is no server of the fleet", r.Process)
		return
	}
	if !slices.ContainsFunc(home.during(by.looked(r.At), r.At), func(c change) bool { return c.canBeExecd() }) {
		a.broken("server %d was signalled when what stood at %s could not be exec'd: %s",
			r.Process, home.path(), home.during(r.At, r.At)[0].fate)
	}
}

// canBeExecd says whether the kernel execs it: whoever does that may die of it later.
func (c change) canBeExecd() bool { return c.fate == good || c.fate == crashing }

// looked is the earliest time of the look that led to a signal.
func (i *instance) looked(at uint64) uint64 {
	for _, s := range i.stopped {
		if s.from <= at && at <= s.to+slack { // it went on where it had been stopped
			at = min(at, s.from)
		}
	}
	return at - slack
}

// judgeEnd holds for each end of a process that the service had signalled.
func (a *arena) judgeEnd(r witness.Record, signals []witness.Record, home *install) {
	if len(signals) == 0 {
		return
	}
	last := signals[len(signals)-1]
	status := r.Status()
	bySignal := status.Signaled() && status.Signal() == unix.SIGUSR1
	crashed := status.Signaled() && status.Signal() == unix.SIGSEGV
	failed := status.Exited() && status.ExitStatus() == exitExecFailed
	by := a.service.sent(last.Sender, last.At)
	switch {
	case !bySignal && !crashed && !failed:
		a.judgeOther(r, status)
	case by == nil:
		a.result.DeathsByOthers++
	case bySignal:
		a.judgeKilled(r, signals)
	case home != nil:
		a.judgeExec(r, last, by, home)
	}
}

// judgeOther holds for ends that nobody's signal causes: the session's, and SIGKILL, which is ours.
func (a *arena) judgeOther(r witness.Record, status syscall.WaitStatus) {
	if status.Exited() && status.ExitStatus() == 0 || status.Signaled() && status.Signal() == unix.SIGKILL {
		return
	}
	a.broken("server %d ended in a way that nobody expects: wait status %#x", r.Process, uint32(status))
}

// judgeKilled: the service's signal met a new image without a handler. That is nobody's fault only if
// somebody else had just asked for the exec.
func (a *arena) judgeKilled(r witness.Record, signals []witness.Record) {
	last := signals[len(signals)-1]
	if n := len(signals); n > 1 {
		before := signals[n-2]
		if a.service.sent(before.Sender, before.At) == nil && last.At-before.At < near {
			a.result.Races++
			return
		}
	}
	a.broken("server %d died of the service's signal", r.Process)
}

// judgeExec: the server exec'd at the service's signal, and died of what it exec'd. That is nobody's fault if a
// bad file came between the look and the exec.
func (a *arena) judgeExec(r, last witness.Record, by *instance, home *install) {
	during := home.during(last.At, r.At)
	first := during[0]
	switch {
	case len(during) == 1 && first.fate == crashing:
		home.died(first, r.Process)
	case slices.ContainsFunc(during[1:], func(c change) bool { return c.fate != good }):
		a.result.Overtaken++ // between the signal and the exec
	case first.fate == crashing:
		home.died(first, r.Process)
	case first.fate != good && slices.ContainsFunc(home.during(by.looked(last.At), last.At), func(c change) bool { return c.fate == good }):
		a.result.Overtaken++ // between the look and the signal
	default:
		a.broken("server %d died of an exec of what stood at %s: %s", r.Process, home.path(), first.fate)
	}
}

// judgeCanaries: one server at most dies of one bad binary, and one more for each start of the service,
// which knows nothing of canaries before.
func (a *arena) judgeCanaries() {
	for _, in := range a.installs {
		for from, victims := range in.deaths {
			a.result.Canaries += len(victims)
			until := ^uint64(0)
			for _, c := range in.history {
				if c.before > from {
					until = c.after
					break
				}
			}
			may := 1
			for _, i := range a.service.instances {
				if from < i.from && i.from < until {
					may++
				}
			}
			if len(victims) > may {
				a.broken("%d servers died of one bad binary at %s, where %d may: %s",
					len(victims), in.path(), may, fmt.Sprint(victims))
			}
		}
	}
}

// died notes a victim of what was there since then.
func (i *install) died(of change, pid int32) {
	if i.deaths == nil {
		i.deaths = map[uint64][]int32{}
	}
	i.deaths[of.before] = append(i.deaths[of.before], pid)
}
