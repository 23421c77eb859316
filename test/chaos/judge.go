// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

const (
	// checkAge is how old the service's check of a file may be when its signal arrives. By design it trusts a check
	// for 10 ms; the rest allows for two busy CPUs.
	checkAge = uint64(50 * time.Millisecond)
	// near is how soon after another sender's signal the service may send one: the event may not be in its ring yet.
	near = uint64(20 * time.Millisecond)
	// restartTime allows for the time from an intent in the journal to its signal, where the next instance knows only the
	// intent.
	restartTime = uint64(time.Second)
)

// judge finds broken rules. It uses nothing but its input, so that tests can invent histories.
type judge struct {
	serverInfos map[identity]*serverInfo
	instances   []*instance
	broken      func(format string, args ...any)
	result      *result

	timelines map[identity]*timeline
	// victims are the servers that died as canaries.
	victims map[replaced][]victim
}

// identity identifies a process: PIDs are reused.
type identity struct {
	pid int32
	// start is in clock ticks, as in /proc/PID/stat.
	start uint64
}

// ticks is a clock tick in nanoseconds. USER_HZ is 100 on all architectures that Go supports.
const ticks = uint64(time.Second) / 100

func identityOf(r witness.Record) identity { return identity{r.Process, r.Start / ticks} }

// serverInfo describes a server of the fleet as one process. A daemon and its parent are two.
type serverInfo struct {
	install *install
	// twice: the server acts on its second signal. daemon: its first image is that of its parent.
	twice, daemon bool
	// counted is the number of signals that the server reported, by its generation.
	counted map[int]int
}

// timeline is what the witness recorded of a process.
type timeline struct {
	// images are the images that it ran. The first is the one of the fork.
	images []image
	// last is the last delivered signal.
	last witness.Record
}

// image is what the witness recorded of a process from one exec to the next.
type image struct {
	since  uint64
	caught []witness.Record
	// ours is the last signal of the service.
	ours witness.Record
}

// now returns the running image.
func (s *timeline) now() *image { return &s.images[len(s.images)-1] }

// replaced identifies a file at the path of an install by the time of its install.
type replaced struct {
	at    *install
	since uint64
}

// records checks all records of the witness.
func (j *judge) records(records []witness.Record) {
	j.timelines, j.victims = map[identity]*timeline{}, map[replaced][]victim{}
	slices.SortStableFunc(records, func(x, y witness.Record) int { return int(int64(x.At - y.At)) })
	for _, r := range records {
		s := j.timelines[identityOf(r)]
		if s == nil {
			s = &timeline{images: make([]image, 1)}
			j.timelines[identityOf(r)] = s
		}
		switch r.Kind {
		case witness.Execed:
			s.images = append(s.images, image{since: r.At})
		case witness.Signalled:
			j.signal(r, s)
			s.signalled(r)
		case witness.Ended:
			j.end(r, s)
		}
	}
	j.result.PIDReuse = j.maxPIDReuse()
	j.canaries()
	j.counts()
	j.endsSeen()
}

func (s *timeline) signalled(r witness.Record) {
	if r.Delivered() {
		s.last = r
	}
	if r.Caught() {
		s.now().caught = append(s.now().caught, r)
	}
}

func (j *judge) maxPIDReuse() (most int) {
	processes := map[int32]int{}
	for l := range j.timelines {
		processes[l.pid]++
		most = max(most, processes[l.pid])
	}
	return most
}

// sentBy returns the instance that sent a signal; nil for another sender.
func (j *judge) sentBy(r witness.Record) *instance { return j.instance(r.Sender, r.At) }

func (j *judge) instance(pid int32, at uint64) *instance {
	n := slices.IndexFunc(j.instances, func(i *instance) bool {
		return int32(i.pid) == pid && i.from <= at && at <= i.to
	})
	if n < 0 {
		return nil
	}
	return j.instances[n]
}

// signal checks each signal of the service: the target is a server of the fleet with a handler, and the file that it
// will exec can be exec'd.
func (j *judge) signal(r witness.Record, s *timeline) {
	by := j.sentBy(r)
	if by == nil {
		j.result.SignalsOfOthers++
		return
	}
	j.result.Signals++
	h := j.serverInfos[identityOf(r)]
	if r.Disposition() != witness.Handled && !j.raced(r, s, h) {
		j.broken("the service signalled process %d, which has no handler", r.Process)
	}
	if h == nil {
		j.broken("the service signalled process %d, which is no server of the fleet", r.Process)
		return
	}
	j.again(r, s.now())
	if !slices.ContainsFunc(h.install.during(by.checkedAt(r.At), r.At), change.canBeExecd) {
		j.broken("the service signalled server %d when the file at %s could not be exec'd: %s",
			r.Process, h.install.path(), h.install.during(r.At, r.At)[0].kind)
	}
}

// again checks that no image is signalled twice within the retry time, also by two instances.
func (j *judge) again(r witness.Record, i *image) {
	last := i.ours
	i.ours = r
	if last.At == 0 {
		return
	}
	from := j.sentBy(last).checkedAt(last.At)
	if j.sentBy(last) != j.sentBy(r) {
		from -= restartTime
	}
	if r.At-from < uint64(retryAfter) {
		j.broken("the service signalled server %d twice within %s", r.Process, time.Duration(r.At-last.At))
	}
}

// canBeExecd reports whether the kernel execs the file. The process may still die later.
func (c change) canBeExecd() bool { return c.kind == good || c.kind == crashing }

// checkedAt returns the earliest time of the check of a file that led to a signal.
func (i *instance) checkedAt(at uint64) uint64 {
	for _, s := range slices.Backward(i.stopped) {
		if s.from <= at && at <= s.to+checkAge { // the instance continued where it had been stopped
			at = min(at, s.from)
		}
	}
	return at - checkAge
}

// end checks the end of a process.
func (j *judge) end(r witness.Record, s *timeline) {
	if i := j.instance(r.Process, r.At); i != nil {
		j.service(i, r)
		return
	}
	if h := j.serverInfos[identityOf(r)]; h != nil {
		j.server(r, s, h)
	}
}

// service checks each end of the service: it must end when and as the run ends it. Exit code 1 reports deaths among
// the servers, which do happen.
func (j *judge) service(i *instance, r witness.Record) {
	i.endSeen = true
	status := r.Status()
	switch {
	case i.endedAt == 0 || r.At < i.endedAt:
		j.broken("the service ended by itself: %s", wait(status))
	case i.endedBy == unix.SIGTERM && status.Exited() && status.ExitStatus() <= 1:
	case i.endedBy == unix.SIGKILL && status.Signaled() && status.Signal() == unix.SIGKILL:
	case i.endedBy == unix.SIGQUIT: // it hung, which is recorded
	default:
		j.broken("the run ended the service by %s, but it ended by %s", unix.SignalName(i.endedBy), wait(status))
	}
}

func wait(status syscall.WaitStatus) string {
	if status.Signaled() {
		return unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

// endsSeen checks that the witness recorded each end, because the rules about ends depend on that.
func (j *judge) endsSeen() {
	for _, i := range j.instances {
		if i.endedAt > 0 && !i.endSeen {
			j.broken("the end of service %d was not recorded", i.pid)
		}
	}
}

// counts compares the servers' counts with the records: each signal that a server caught in a generation was sent to
// that image.
func (j *judge) counts() {
	for l, h := range j.serverInfos {
		for generation, counted := range h.counted {
			j.result.Counted += counted
			n := generation + 1 // the first was that of the parent
			if h.daemon {
				n = generation
			}
			seen := 0
			if s := j.timelines[l]; s != nil && n < len(s.images) {
				seen = len(s.images[n].caught)
			}
			if counted > seen {
				j.broken("server %d counted %d signals in generation %d, %d were recorded", l.pid, counted, generation, seen)
			}
		}
	}
}
