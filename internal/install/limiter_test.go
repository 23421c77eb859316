// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/internal/budget"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// mountSilent is a directory on a file system that never answers.
func mountSilent(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountSilent(dir)
	must(t, err)
	t.Cleanup(func() { must(t, release()) })
	return dir
}

// One user has a hundred paths there. The path of another user is checked as usual.
func TestHub_SilentFileSystem_DelaysItsUserOnly(t *testing.T) {
	t.Parallel()
	silent := mountSilent(t)
	_, path := installed(t)
	const hostile, other = 1001, 1002
	h := newHub(shortSettle, eventsOnly())
	var last *Watcher
	for i := range 100 {
		last = h.Watch(RootedPath{Path: fmt.Sprintf("%s/%d", silent, i), Owner: selector.User{UID: hostile}}, func(i selector.Install) {
			t.Errorf("reported a file that cannot be read: %+v", i)
		})
	}
	w := &watched{reports: make(chan selector.Install, 1)}
	w.Watcher = h.Watch(RootedPath{Path: path, Owner: selector.User{UID: other}}, w.put)
	awaitReady(t, w, imageOf(t, path))
	awaitReady(t, w, replace(t, path, static().bytes()))
	requireUnready(t, last.Check(), "the file system does not answer")
	requireReady(t, w.Check())
	eventually(t, "all stuck checks are counted", func() bool { return h.Stats().Stuck == 100 })
	h.Close() // does not block
	if s := h.Stats(); s.Paths != 0 {
		t.Errorf("after the end: %+v", s)
	}
	requireUnready(t, Check(RootedPath{Path: silent + "/prog"}), "the file system does not answer")
	requireUnready(t, settled(t.Context(), silent+"/prog", time.Second), "the file system does not answer")
}

// unpolledVariable has a test check the file that it names, in a process that may hang.
const unpolledVariable = "INSTALL_UNPOLLED"

// While the Go runtime asks whether a file can be polled, no goroutine runs. So a process of its own checks the file, and this
// one answers the kernel.
func TestCheck_FileWithoutPoll_DoesNotBlock(t *testing.T) {
	if file := os.Getenv(unpolledVariable); file != "" {
		checkBesideUnpolled(t, file)
		return
	}
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountUnpolled(dir)
	must(t, err)
	release = sync.OnceValue(release)
	ctx, cancel := context.WithTimeout(t.Context(), 2*testTimeout)
	defer cancel()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(ctx, self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), unpolledVariable+"="+filepath.Join(dir, testfleet.Unpolled))
	cmd.Cancel = func() error { return errors.Join(cmd.Process.Kill(), release()) } // a blocked process ends after the release only
	if reports, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the process that checks it: %v\n%s", errors.Join(err, ctx.Err()), reports)
	}
	must(t, release())
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), dir) {
		t.Error("it is still mounted")
	}
}

// checkBesideUnpolled has one user with a path to the file, and another user with a path to a file of their own.
func checkBesideUnpolled(t *testing.T, file string) {
	_, path := installed(t)
	h := newHub(shortSettle, eventsOnly())
	watch := func(path string, owner uint32) *watched {
		w := &watched{reports: make(chan selector.Install, 1)}
		w.Watcher = h.Watch(RootedPath{Path: path, Owner: selector.User{UID: owner}}, w.put)
		return w
	}
	hostile, other := watch(file, 1001), watch(path, 1002)
	awaitReady(t, other, imageOf(t, path))
	for range 5 {
		awaitReady(t, other, replace(t, path, static().bytes()))
		eventually(t, "a check ends in time", func() bool { return other.Check().State == selector.StateReady })
	}
	awaitState(t, hostile, selector.StateReady, "") // it was opened and read
	awaitReady(t, other, replace(t, path, static().bytes()))
	h.Close()
	if s := h.Stats(); s.Paths != 0 {
		t.Errorf("after the end: %+v", s)
	}
}

func TestUserBudget_InDebt_DelaysChecks(t *testing.T) {
	t.Parallel()
	u, stop := newUserBudget(budget.User{UID: 7}, budget.NewMeter(checkLimit())), make(chan struct{})
	if !u.run(stop, func() {}) {
		t.Fatal("the first check of a user does not run")
	}
	if used := processorTime(func() { spin(5 * time.Millisecond) }); used < 4*time.Millisecond {
		t.Errorf("5 ms of work are counted as %s", used)
	}
	u.meter.Charge(u.user, checkLimit().Burst+time.Hour, time.Now())
	close(stop)
	if u.run(stop, func() { t.Error("the check runs") }) {
		t.Error("the check of a user in debt runs at once")
	}
}

// spin uses the processor for that long.
func spin(d time.Duration) {
	for begin := threadTime(); threadTime()-begin < d; {
	}
}
