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
	// glance is how old the service's look at a file may be when its signal comes. It trusts a look for 10 ms,
	// by design; the rest is for two CPUs with a lot to do.
	glance = uint64(50 * time.Millisecond)
	// near is how soon after another sender's signal ours may come: that one may not be in our ring yet.
	near = uint64(20 * time.Millisecond)
)

// judge says which rules were broken. It looks at nothing but what it is given: histories can be made up.
type judge struct {
	homes     map[life]*home
	instances []*instance
	broken    func(format string, args ...any)
	result    *result

	stories map[life]*story
	// victims died as canaries.
	victims map[replaced][]victim
}

// life is one process: numbers are used again.
type life struct {
	pid int32
	// start is in clock ticks, as in /proc/PID/stat.
	start uint64
}

// ticks is how many nanoseconds a clock tick has for user space: USER_HZ is 100 on all that Go runs on.
const ticks = uint64(time.Second) / 100

func lifeOf(r witness.Record) life { return life{r.Process, r.Start / ticks} }

// home is a server of the fleet, as one process: a daemon and its parent are two.
type home struct {
	install *install
	// twice is one that must be asked twice, and daemon one whose first image is its parent's.
	twice, daemon bool
	// counted is how many signals it says that it got, by its generation.
	counted map[int]int
}

// story is what was seen of a process.
type story struct {
	// images are those that it ran. The first is the one that it was forked with.
	images []image
	// last is the last signal that was delivered.
	last witness.Record
}

// image is what was seen of a process from one exec to the next.
type image struct {
	since  uint64
	caught []witness.Record
}

// now is the image that runs.
func (s *story) now() *image { return &s.images[len(s.images)-1] }

// replaced is what stood at the path of an install since then.
type replaced struct {
	at    *install
	since uint64
}

// records are all that was seen.
func (j *judge) records(records []witness.Record) {
	j.stories, j.victims = map[life]*story{}, map[replaced][]victim{}
	slices.SortStableFunc(records, func(x, y witness.Record) int { return int(int64(x.At - y.At)) })
	for _, r := range records {
		s := j.stories[lifeOf(r)]
		if s == nil {
			s = &story{images: make([]image, 1)}
			j.stories[lifeOf(r)] = s
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
	j.result.NumberReuse = j.mostOfOneNumber()
	j.canaries()
	j.counts()
	j.endsSeen()
}

func (s *story) signalled(r witness.Record) {
	if r.Delivered() {
		s.last = r
	}
	if r.Caught() {
		s.now().caught = append(s.now().caught, r)
	}
}

func (j *judge) mostOfOneNumber() (most int) {
	processes := map[int32]int{}
	for l := range j.stories {
		processes[l.pid]++
		most = max(most, processes[l.pid])
	}
	return most
}

// sentBy finds the instance that sent a signal; nil is that another sender did.
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

// signal holds for each signal of the service: whoever gets it is a server of the fleet and has a handler,
// and what he will exec is something that can be exec'd.
func (j *judge) signal(r witness.Record, s *story) {
	by := j.sentBy(r)
	if by == nil {
		j.result.SignalsOfOthers++
		return
	}
	j.result.Signals++
	h := j.homes[lifeOf(r)]
	if r.Disposition() != witness.Handled && !j.raced(r, s, h) {
		j.broken("process %d was signalled by the service and has no handler", r.Process)
	}
	if h == nil {
		j.broken("process %d was signalled by the service and is no server of the fleet", r.Process)
		return
	}
	if !slices.ContainsFunc(h.install.during(by.looked(r.At), r.At), change.canBeExecd) {
		j.broken("server %d was signalled when what stood at %s could not be exec'd: %s",
			r.Process, h.install.path(), h.install.during(r.At, r.At)[0].fate)
	}
}

// canBeExecd says whether the kernel execs it: whoever does that may die of it later.
func (c change) canBeExecd() bool { return c.fate == good || c.fate == crashing }

// looked is the earliest time of the look at a file that led to a signal.
func (i *instance) looked(at uint64) uint64 {
	for _, s := range slices.Backward(i.stopped) {
		if s.from <= at && at <= s.to+glance { // it went on where it had been stopped
			at = min(at, s.from)
		}
	}
	return at - glance
}

// end holds for the end of each process.
func (j *judge) end(r witness.Record, s *story) {
	if i := j.instance(r.Process, r.At); i != nil {
		j.service(i, r)
		return
	}
	if h := j.homes[lifeOf(r)]; h != nil {
		j.server(r, s, h)
	}
}

// service holds for each end of the service: it ends when it is told to, and as it is told to. Exit code 1 is
// for deaths among the servers, of which there are some.
func (j *judge) service(i *instance, r witness.Record) {
	i.over = true
	status := r.Status()
	switch {
	case i.asked == 0 || r.At < i.asked:
		j.broken("the service ended by itself: %s", wait(status))
	case i.with == unix.SIGTERM && status.Exited() && status.ExitStatus() <= 1:
	case i.with == unix.SIGKILL && status.Signaled() && status.Signal() == unix.SIGKILL:
	case i.with == unix.SIGQUIT: // it hung, which was noted
	default:
		j.broken("the service was told to end by %s, and ended by %s", unix.SignalName(i.with), wait(status))
	}
}

func wait(status syscall.WaitStatus) string {
	if status.Signaled() {
		return unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

// endsSeen: a rule about ends that are not seen would be none.
func (j *judge) endsSeen() {
	for _, i := range j.instances {
		if i.asked > 0 && !i.over {
			j.broken("the end of service %d was not seen", i.pid)
		}
	}
}

// counts holds what the servers counted against what was seen: each signal that a server caught in one of its
// generations is one that was sent to that image.
func (j *judge) counts() {
	for l, h := range j.homes {
		for generation, counted := range h.counted {
			j.result.Counted += counted
			n := generation + 1 // the first was the parent's
			if h.daemon {
				n = generation
			}
			seen := 0
			if s := j.stories[l]; s != nil && n < len(s.images) {
				seen = len(s.images[n].caught)
			}
			if counted > seen {
				j.broken("server %d counted %d signals in generation %d, and %d were seen", l.pid, counted, generation, seen)
			}
		}
	}
}
