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
	// exitExecFailed is the exit status of a server after a failed exec.
	exitExecFailed = 70
	// execTime is how long the kernel may take from the look-up of the path to the new image, or to the death of a
	// process that cannot return to the old image. All servers may exec at the same time on two CPUs. No signal stops
	// a process in between.
	execTime = uint64(500 * time.Millisecond)
	// canaryTimeout is the time after which the service signals another canary.
	canaryTimeout = uint64(time.Second)
)

// server checks the end of a server.
func (j *judge) server(r witness.Record, s *timeline, h *serverInfo) {
	status := r.Status()
	switch {
	case status.Signaled() && status.Signal() == unix.SIGUSR1:
		j.result.Deaths++
		j.killed(r, s, h)
	case crashed(status) || status.Exited() && status.ExitStatus() == exitExecFailed:
		j.result.Deaths++
		j.exec(r, s, h)
	case status.Exited() && status.ExitStatus() == 0 || status.Signaled() && status.Signal() == unix.SIGKILL:
		// The end of its session, or a kill by this program.
	default:
		j.broken("server %d ended in an unexpected way: %s", r.Process, wait(status))
	}
}

func crashed(status syscall.WaitStatus) bool {
	return status.Signaled() && (status.Signal() == unix.SIGSEGV || status.Signal() == unix.SIGBUS)
}

// killed checks the death of an image without a handler. The cause is the last delivered signal: a signal that
// arrives while another is pending is not delivered.
func (j *judge) killed(r witness.Record, s *timeline, h *serverInfo) {
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

// raced reports whether a signal of the service met an exec that another sender had just caused. The service could
// not know of it.
func (j *judge) raced(r witness.Record, s *timeline, h *serverInfo) bool {
	if h == nil {
		return false
	}
	for _, i := range s.images[max(0, len(s.images)-2):] {
		if cause, found := i.cause(h); found && cause.At < r.At && r.At-cause.At < near && j.sentBy(cause) == nil {
			return true
		}
	}
	return false
}

// cause returns the signal that the image acted on: the first that it caught. Later ones do nothing.
func (i *image) cause(h *serverInfo) (r witness.Record, found bool) {
	if len(i.caught) == 0 {
		return r, false
	}
	if !h.twice {
		return i.caught[0], true
	}
	// Two signals at the same time may be one for the process.
	for _, r := range i.caught[1:] {
		if r.At-i.caught[0].At >= near {
			return r, true
		}
	}
	return i.caught[len(i.caught)-1], true
}

// attempt is an exec that killed its server.
type attempt struct {
	// cause is the signal that caused it.
	cause witness.Record
	// The kernel looked up the path between these two times.
	from, to uint64
	// culprits are the kinds of files that lead to such a death.
	culprits []fileKind
}

// attempted returns the exec that killed a server: that of the new image if it runs, otherwise the failed one. A
// server that was not signalled cannot die so.
func (s *timeline) attempted(end witness.Record, h *serverInfo) (a attempt, signalled bool) {
	failed := end.Status().Exited()
	if cause, found := s.now().cause(h); found {
		a = attempt{cause, end.At - execTime, end.At, []fileKind{truncated}}
		if failed { // it may have been stopped before it could exit
			a.from, a.culprits = cause.At, []fileKind{truncated, foreign, partial, missing}
		}
		return a, true
	}
	if len(s.images) < 2 || failed {
		return a, false
	}
	cause, found := s.images[len(s.images)-2].cause(h)
	since := s.now().since
	return attempt{cause, since - execTime, since, []fileKind{crashing}}, found
}

// exec checks the death of a server by its exec of the path in its variable.
func (j *judge) exec(r witness.Record, s *timeline, h *serverInfo) {
	a, signalled := s.attempted(r, h)
	if !signalled {
		j.broken("server %d ended by %s without a signal", r.Process, wait(r.Status()))
		return
	}
	by := j.sentBy(a.cause)
	if by == nil {
		j.result.DeathsByOthers++
		return
	}
	j.result.Judged++
	j.execSignalled(r, a, by.checkedAt(a.cause.At), h.install)
}

// execSignalled checks an exec that a signal of the service caused. The death breaks no rule if the file replaced an
// executable one that the service could have seen, or if the server was a canary.
func (j *judge) execSignalled(r witness.Record, a attempt, checked uint64, in *install) {
	culprits := slices.DeleteFunc(in.during(max(a.from, a.cause.At), a.to), func(c change) bool {
		return !slices.Contains(a.culprits, c.kind)
	})
	if len(culprits) == 0 {
		j.broken("server %d ended by %s at an exec of the file at %s, which does not lead to that: %s",
			r.Process, wait(r.Status()), in.path(), in.describe(checked, r.At))
		return
	}
	seen := in.during(checked, a.cause.At)
	last := culprits[len(culprits)-1]
	switch {
	case !slices.ContainsFunc(seen, func(c change) bool { return c.canBeExecd() && c.before < last.before }):
		if culprits[0].kind != crashing {
			j.broken("server %d died of its exec of the file at %s: %s", r.Process, in.path(), in.describe(checked, r.At))
			return
		}
		of := replaced{in, culprits[0].before}
		j.victims[of] = append(j.victims[of], victim{r.Process, a.cause.At, r.At})
	case last.before > a.cause.At:
		j.result.Overtaken++
	default:
		j.result.Unseen++
	}
}

// victim is a server that died of a bad binary after a signal of the service.
type victim struct {
	pid             int32
	signalled, died uint64
}

// canaries checks that at most one server dies of a bad binary, and one more for each start of the service, which
// does not know earlier canaries. A canary that execs slowly may die after another that was signalled in its place.
func (j *judge) canaries() {
	for of, victims := range j.victims {
		j.result.Canaries += len(victims)
		slices.SortFunc(victims, func(x, y victim) int { return cmp.Compare(x.signalled, y.signalled) })
		for n, v := range victims {
			if slices.ContainsFunc(victims[:n], func(before victim) bool { return !j.mayFollow(before, v) }) {
				j.broken("%d servers died of one bad binary at %s, of which %d must not have been signalled: %v",
					len(victims), of.at.path(), v.pid, victims)
				break
			}
		}
	}
}

// mayFollow reports whether the service was allowed to cause the same exec again.
func (j *judge) mayFollow(before, v victim) bool {
	if before.died > v.signalled && v.signalled-before.signalled >= canaryTimeout {
		return true
	}
	return slices.ContainsFunc(j.instances, func(i *instance) bool { return before.signalled < i.from && i.from < v.signalled })
}
