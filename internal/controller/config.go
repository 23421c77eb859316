// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Lister lists the PIDs of all processes that may be servers: too many, never too few.
type Lister interface {
	Candidates(ctx context.Context) ([]selector.PID, error)
}

// InstallUpdate is what is installed by now.
type InstallUpdate struct {
	Key  registry.Key
	File selector.Install
}

// Watcher reports what is installed. Check and Refresh may wait for a file system, for a bounded time; they are called by
// workers. The other methods do not wait.
type Watcher interface {
	// Watch begins to report an install, and Forget ends that.
	Watch(key registry.Key)
	Forget(key registry.Key)
	// Updates gives each install first as it is, then whenever it changes. A late reader gets the latest of each.
	Updates() <-chan InstallUpdate
	// Check inspects an install now.
	Check(key registry.Key) selector.Install
	// Refresh does the same. A file that is ready is reported without waiting until it has settled.
	Refresh(key registry.Key) selector.Install
	// RetainView says that a process has a mount view, and ReleaseView that it is gone: another root than the service's own
	// can be opened only through a process that has it.
	RetainView(v selector.View, id selector.Identity)
	ReleaseView(v selector.View, id selector.Identity)
}

// Idleness says which processes are idle. None of its methods waits for another process.
type Idleness interface {
	// Begin begins to watch a process of a user, and Forget ends that.
	Begin(id selector.Identity, user selector.User)
	Forget(pid selector.PID)
	// Judge says whether it is idle now.
	Judge(id selector.Identity, user selector.User) selector.Idleness
}

// Observer is told what the controller does. The goroutine of [Controller.Run] calls it, and waits for it.
type Observer interface {
	// Round tells that processes were inspected: report has their verdicts, and in Plan those that are to be signalled. The
	// first inspection began took ago. An install that is not ready is told as a report without servers.
	Round(reason api.Reason, report api.Report, took time.Duration)
	// Rollout tells that a rollout has begun, has come into another phase, was halted for another user, or was superseded.
	Rollout(r rollout.Report)
	// Moved tells that a member has come into another state.
	Moved(m rollout.Member, from rollout.State)
	// Refused tells that a member was not sent the signal although it was due.
	Refused(m rollout.Member, err error)
	// Trouble tells of an error that the controller goes on after.
	Trouble(err error)
}

// The defaults of a [Config].
const (
	// DefaultForgetAfter is how long an install is watched that no process names.
	DefaultForgetAfter = 10 * time.Minute
	// DefaultMaxPerUser is more servers than a user needs: each is a session.
	DefaultMaxPerUser = 4096
	// DefaultMaxInstallsPerUser is more installs than a user needs: each is a version.
	DefaultMaxInstallsPerUser = 1024
)

// Config is what a [Controller] works with. Deliverer, Limits, Lister, Installs, Journal, KeepPauses and Observer are needed.
type Config struct {
	Deliverer *deliver.Deliverer
	// Source is told in reports.
	Source   api.Source
	Limits   rollout.Limits
	Lister   Lister
	Installs Watcher
	// Paths are the only installs that are served, if there are any, and View is the mount view of this process. Otherwise each
	// server has the install that it names.
	Paths []string
	View  selector.View
	// ForgetAfter is how long an install is watched that no process names.
	ForgetAfter time.Duration
	// MaxPerUser is how many processes of a user are inspected, 0: all. MaxInstallsPerUser is how many installs are watched
	// for a user.
	MaxPerUser, MaxInstallsPerUser int
	// Events are those of the kernel. Without, the controller waits for the exits of the servers that it has signalled.
	Events <-chan selector.Event
	// ScanEvery is the time between regular resyncs: the net under the events, or all there is without. 0: never.
	ScanEvery time.Duration
	// Audit, if any, puts the source right before each regular resync, and once soon after the start.
	Audit func(ctx context.Context) error
	// BuildOf, if any, is that of a [rollout.Config]. It must not wait for a file system.
	BuildOf func(selector.Image) selector.Build
	// Prefers, if any, reports whether an outdated server is to be the canary of its group. It must not wait for a file
	// system.
	Prefers func(selector.Process) bool
	// Quiet, if any, says when a server can be signalled without losing a request.
	Quiet Idleness
	// Journal, if any, keeps what must survive this process, and Saved is what it kept of the last one.
	Journal Journal
	Saved   *rollout.Snapshots
	// Pauses are those of an earlier process. KeepPauses keeps them for the next one; it may wait for a disk.
	Pauses     rollout.Pauses
	KeepPauses func(rollout.Pauses) error
	Observer   Observer
	// Acted, if any, is called with each act of an operator that changed something, before the observer is told what
	// follows from it. The goroutine of [Controller.Run] waits for it.
	Acted func(api.Act)
}
