// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/internal/sys"
)

// checkLimit bounds the processor time of checks for one user: 5 % of a core in the long run. The burst is some thousand
// checks, so only a user with files that change without a pause is delayed.
func checkLimit() budget.Limit { return budget.Limit{Factor: 20, Burst: time.Second} }

// userBudget limits the checks for one user. It is safe for concurrent use.
type userBudget struct {
	user  budget.User
	meter *budget.Meter
	// slots has one element for each check that runs.
	slots chan struct{}
	// paths is how many paths of the user are watched. The Hub guards it.
	paths int
}

func newUserBudget(user budget.User, m *budget.Meter) *userBudget {
	return &userBudget{user: user, meter: m, slots: make(chan struct{}, budget.MaxStuck)}
}

// run runs check, which may block for as long as a file system does not answer. It waits until the user has no debt and a
// slot is free. It returns false if stop was closed before that.
func (u *userBudget) run(stop <-chan struct{}, check func()) bool {
	if until := u.meter.ThrottledUntil(u.user, time.Now()); !until.IsZero() && sys.WaitFor(stop, time.Until(until)) {
		return false
	}
	select {
	case u.slots <- struct{}{}:
	case <-stop:
		return false
	}
	defer func() { <-u.slots }()
	used := processorTime(check)
	u.meter.Charge(u.user, used, time.Now())
	return true
}

// processorTime runs f, and returns the processor time that it used. Waiting is not counted.
func processorTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	f()
	return threadTime() - before
}

// threadTime returns the processor time of this thread since it began.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// maxUserWatches bounds the inotify watches for one user, and maxWatches those of a Hub, at 500 bytes each.
const maxUserWatches, maxWatches = 8192, 1 << 16

// limits bound what is open for one user, and in a Hub.
type limits struct{ user, all int }

// watchLimits bound the inotify watches. The kernel has one limit for all programs of root: watchLimits leaves three quarters of
// it to other programs, and half of the rest to other users.
func watchLimits() limits {
	text, _ := os.ReadFile("/proc/sys/user/max_inotify_watches")
	kernel, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		kernel = 8192 // the kernel's minimum (inotify_user_setup in fs/notify/inotify/inotify_user.c)
	}
	all := min(kernel/4, maxWatches)
	return limits{user: min(maxUserWatches, all/2), all: all}
}

// maxUserViews bounds the views of which the mounts are watched for one user, and maxViews those of a Hub, with two descriptors
// each.
const maxUserViews, maxViews = 64, 256

// mountLimits bound the views of which the mounts are watched. They leave three quarters of the descriptors to the rest of the
// service, and half of these views to other users.
func mountLimits() limits {
	all := maxViews
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && files.Cur/8 < maxViews {
		all = int(files.Cur / 8)
	}
	return limits{user: min(maxUserViews, all/2), all: all}
}
