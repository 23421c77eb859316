// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

const (
	// exitExecFailed is what a server exits with whose exec failed.
	exitExecFailed = 70
	// lookingUp is how long the kernel may take from the look at the path to the new image, or to the death of
	// who cannot go back to the old one: all servers may exec at once, on two CPUs. No signal stops a process in
	// between.
	lookingUp = uint64(500 * time.Millisecond)
	// slow is how long a canary may take until the service tries another one.
	slow = uint64(time.Second)
)

// server holds for the end of each server.
func (j *judge) server(r witness.Record, s *story, h *home) {
	status := r.Status()
	switch {
	case status.Signaled() && status.Signal() == unix.SIGUSR1:
		j.result.Deaths++
		j.killed(r, s, h)
	case crashed(status) || status.Exited() && status.ExitStatus() == exitExecFailed:
		j.result.Deaths++
		j.exec(r, s, h)
	case status.Exited() && status.ExitStatus() == 0 || status.Signaled() && status.Signal() == unix.SIGKILL:
		// The end of its session, and we.
	default:
		j.broken("server %d ended in a way that nobody expects: %s", r.Process, wait(status))
	}
}

func crashed(status syscall.WaitStatus) bool {
	return status.Signaled() && (status.Signal() == unix.SIGSEGV || status.Signal() == unix.SIGBUS)
}

// killed: a signal met an image without a handler. Which one is certain: the last that was delivered, since
// one that comes while another is pending is not.
func (j *judge) killed(r witness.Record, s *story, h *home) {
	switch {
	case j.sentBy(s.last) == nil:
		j.result.DeathsByOthers++
	case j.raced(s.last, s, h):
		j.result.Judged++
		j.result.Races++
	default:
		j.result.Judged++
		j.broken("server %d died of the service's signal", r.Process)
	}
}

// raced says whether a signal of the service met an exec that another sender had just asked for, of which
// nobody could know.
func (j *judge) raced(r witness.Record, s *story, h *home) bool {
	if h == nil {
		return false
	}
	for _, i := range s.images[max(0, len(s.images)-2):] {
		if led, found := i.led(h); found && led.At < r.At && r.At-led.At < near && j.sentBy(led) == nil {
			return true
		}
	}
	return false
}

// led is the signal that the image acted on: the first that it caught. Those after it do nothing.
func (i *image) led(h *home) (r witness.Record, found bool) {
	if len(i.caught) == 0 {
		return r, false
	}
	if !h.twice {
		return i.caught[0], true
	}
	// Two that come at once may be one for who is asked.
	for _, r := range i.caught[1:] {
		if r.At-i.caught[0].At >= near {
			return r, true
		}
	}
	return i.caught[len(i.caught)-1], true
}

// attempt is an exec that somebody died of.
type attempt struct {
	// led is the signal that led to it.
	led witness.Record
	// The kernel looked at the path between the two times.
	from, to uint64
	// culprits are the kinds of files that make one die so.
	culprits []fate
}

// attempted is the exec that a server died of: of the new image if that has come, else of what keeps it
// from coming. Nobody dies so who was not asked.
func (s *story) attempted(end witness.Record, h *home) (a attempt, asked bool) {
	failed := end.Status().Exited()
	if led, found := s.now().led(h); found {
		a = attempt{led, end.At - lookingUp, end.At, []fate{truncated}}
		if failed { // it may have been stopped before it could exit
			a.from, a.culprits = led.At, []fate{truncated, foreign, partial, missing}
		}
		return a, true
	}
	if len(s.images) < 2 || failed {
		return a, false
	}
	led, found := s.images[len(s.images)-2].led(h)
	since := s.now().since
	return attempt{led, since - lookingUp, since, []fate{crashing}}, found
}

// exec: the server died of what it exec'd, at the path that its variable names.
func (j *judge) exec(r witness.Record, s *story, h *home) {
	a, asked := s.attempted(r, h)
	if !asked {
		j.broken("server %d, which nobody had asked, ended by %s", r.Process, wait(r.Status()))
		return
	}
	by := j.sentBy(a.led)
	if by == nil {
		j.result.DeathsByOthers++
		return
	}
	j.result.Judged++
	j.execAsked(r, a, by.looked(a.led.At), h.install)
}

// execAsked: it exec'd because the service had asked it. That is nobody's fault if the file came there after
// one that the service could see and that can be exec'd, or if it was a canary.
func (j *judge) execAsked(r witness.Record, a attempt, looked uint64, in *install) {
	culprits := slices.DeleteFunc(in.during(max(a.from, a.led.At), a.to), func(c change) bool {
		return !slices.Contains(a.culprits, c.fate)
	})
	if len(culprits) == 0 {
		j.broken("server %d ended by %s at an exec of what stood at %s, which nobody dies of so: %s",
			r.Process, wait(r.Status()), in.path(), in.told(looked, r.At))
		return
	}
	seen := in.during(looked, a.led.At)
	last := culprits[len(culprits)-1]
	switch {
	case !slices.ContainsFunc(seen, func(c change) bool { return c.canBeExecd() && c.before < last.before }):
		if culprits[0].fate != crashing {
			j.broken("server %d died of an exec of what stood at %s: %s", r.Process, in.path(), in.told(looked, r.At))
			return
		}
		of := replaced{in, culprits[0].before}
		j.victims[of] = append(j.victims[of], victim{r.Process, a.led.At, r.At})
	case last.before > a.led.At:
		j.result.Overtaken++
	default:
		j.result.Unseen++
	}
}

// victim is a server that died of a bad binary, which it was asked to exec.
type victim struct {
	pid         int32
	asked, died uint64
}

// canaries: one server at most dies of one bad binary, and one more for each start of the service, which
// knows nothing of canaries before. One that is slow to exec may die after another that was asked in its place.
func (j *judge) canaries() {
	for of, victims := range j.victims {
		j.result.Canaries += len(victims)
		slices.SortFunc(victims, func(x, y victim) int { return cmp.Compare(x.asked, y.asked) })
		for n, v := range victims {
			if slices.ContainsFunc(victims[:n], func(before victim) bool { return !j.mayFollow(before, v) }) {
				j.broken("%d servers died of one bad binary at %s, of which %d should not have been asked: %v",
					len(victims), of.at.path(), v.pid, victims)
				break
			}
		}
	}
}

// mayFollow says whether the service could ask for the same exec again.
func (j *judge) mayFollow(before, v victim) bool {
	if before.died > v.asked && v.asked-before.asked >= slow {
		return true
	}
	return slices.ContainsFunc(j.instances, func(i *instance) bool { return before.asked < i.from && i.from < v.asked })
}
