// SPDX-License-Identifier: MIT

// Package registry keeps what is known of processes and installs: which process names which install, and how many of each a
// user may have. It is pure: it reads nothing, and takes every moment as an argument. Nothing in it is safe for concurrent
// use, but for the values of [Expected].
//
// Installs are either named by the operator or learned from the servers; a resolver for each says which install a process
// belongs to, and which file it is compared with.
package registry

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// Config bounds a [Registry].
type Config struct {
	// Paths are the only installs, if there are any, and View is the mount view in which they lead to their files. Otherwise each
	// process has the install that it names.
	Paths []string
	View  selector.View
	// MaxProcesses and MaxInstalls are how many of each a user may have; 0: no limit. Installs that led to one file when they
	// were added count as one, as those of sandboxes do: each has a view of its own, and a process.
	MaxProcesses, MaxInstalls int
	// ForgetAfter is how long an install is kept that no process names.
	ForgetAfter time.Duration
}

// Registry is the set of the processes and installs that are known.
type Registry struct {
	cfg       Config
	processes map[selector.PID]*Process
	installs  map[Key]*Install
	// fixed are the installs of Config.Paths.
	fixed []*Install
	// over has the processes over the limit of their user, which are not inspected.
	over map[selector.PID]api.Server
	// perUser counts the processes.
	perUser map[selector.User]int
	// perOwner has the installs of each user by file.
	perOwner map[selector.User]*owned
}

// owned counts the installs of a user, in all and by the file that they led to when they were added.
type owned struct {
	installs int
	files    map[selector.Image]int
}

// New returns a registry without processes.
func New(cfg Config, now time.Time) *Registry {
	r := &Registry{
		cfg: cfg, processes: make(map[selector.PID]*Process), installs: make(map[Key]*Install), over: make(map[selector.PID]api.Server),
		perUser: make(map[selector.User]int), perOwner: make(map[selector.User]*owned),
	}
	for _, path := range cfg.Paths {
		i := newInstall(Key{Path: path}, now)
		r.installs[i.Key] = i
		r.fixed = append(r.fixed, i)
	}
	return r
}

// SetLimits sets the limits and the time of the [Config]. Processes and installs beyond a lower limit stay.
func (r *Registry) SetLimits(maxProcesses, maxInstalls int, forgetAfter time.Duration) {
	r.cfg.MaxProcesses, r.cfg.MaxInstalls, r.cfg.ForgetAfter = maxProcesses, maxInstalls, forgetAfter
}

// Learns reports whether the servers name the installs, and not the operator.
func (r *Registry) Learns() bool { return len(r.fixed) == 0 }

// Fixed are the installs that the operator named.
func (r *Registry) Fixed() []*Install { return r.fixed }

// Process is the process with that PID, nil if there is none.
func (r *Registry) Process(pid selector.PID) *Process { return r.processes[pid] }

// Processes are all processes, in no order. The registry may be changed meanwhile.
func (r *Registry) Processes() iter.Seq[*Process] { return maps.Values(maps.Clone(r.processes)) }

// Install is the install with that key, nil if there is none.
func (r *Registry) Install(key Key) *Install { return r.installs[key] }

// Installs are all installs, in no order. The registry may be changed meanwhile.
func (r *Registry) Installs() iter.Seq[*Install] { return maps.Values(maps.Clone(r.installs)) }

// find is the install of a process that had current; nil: there is none yet. Of the installs that the operator named, a process
// belongs to the one with the file that it would exec.
func (r *Registry) find(p selector.Process, current *Install) *Install {
	if r.Learns() {
		return r.installs[KeyOf(p)]
	}
	if i := slices.IndexFunc(r.fixed, func(i *Install) bool { return leadsTo(p, i.File) }); i >= 0 {
		return r.fixed[i]
	}
	if i := slices.IndexFunc(r.fixed, func(i *Install) bool { return i.isNamedBy(p, r.cfg.View) }); i >= 0 {
		return r.fixed[i]
	}
	return cmp.Or(current, r.fixed[0]) // its file has just been replaced, or is missing
}

// of is the install of a process that was just read.
func (r *Registry) of(p selector.Process) *Install {
	var current *Install
	if known := r.processes[p.PID]; known != nil {
		current = known.Install
	}
	return r.find(p, current)
}

// File is what a process is compared with that was just read.
func (r *Registry) File(p selector.Process) selector.Install {
	switch of := r.of(p); {
	case of == nil:
		return unresolved(p, ReasonUnreported)
	case r.Learns(), of.isNamedBy(p, r.cfg.View):
		return fileFor(p, of.File)
	default:
		return of.File
	}
}

// Since is when that was reported: an answer of a file system from before may be about the file before.
func (r *Registry) Since(p selector.Process) time.Time {
	if !r.Learns() {
		return r.lastReport()
	}
	if of := r.of(p); of != nil {
		return of.ReportedAt
	}
	return time.Time{}
}

// lastReport is the latest of the installs that the operator named: a process that was inspected before may belong to any.
func (r *Registry) lastReport() (at time.Time) {
	for _, i := range r.fixed {
		if i.ReportedAt.After(at) {
			at = i.ReportedAt
		}
	}
	return at
}

// Interpreters are those of the installs that the operator named.
func (r *Registry) Interpreters() []string { return interpreters(r.Files()) }

// Files are what was reported at the installs that the operator named.
func (r *Registry) Files() (all []selector.Install) {
	for _, i := range r.fixed {
		all = append(all, i.File)
	}
	return all
}

// Put takes a process in as it was inspected at a moment. Its install stays what it was; see [Registry.Resolve].
func (r *Registry) Put(f api.Server, p selector.Process, at time.Time) *Process {
	known, user := r.processes[f.PID], p.Credentials.Owner
	switch {
	case known == nil:
		known = &Process{StartedAt: at.Add(-p.Age)}
		r.processes[f.PID] = known
		r.perUser[user]++
	case known.User != user:
		r.release(known.User)
		r.perUser[user]++
	}
	delete(r.over, f.PID)
	known.Server, known.User, known.ExecedOther, known.GoneSince = f, user, false, time.Time{}
	if p.MidExec {
		known.InExecAt = at
	}
	return known
}

// Resolve is the install that a process names now, which was read as p; nil: it names none, or its user has too many. isNew
// says that the install is to be watched from now on, and evicted is one that had to make room for it.
func (r *Registry) Resolve(known *Process, p selector.Process, now time.Time) (to *Install, isNew bool, evicted *Install) {
	if to := r.find(p, known.Install); to != nil {
		return to, false, nil
	}
	key := KeyOf(p)
	if key.Path == "" || !NamesInstall(known.Verdict) {
		return nil, false, nil
	}
	if of := r.perOwner[key.Owner]; of != nil && r.cfg.MaxInstalls > 0 && of.installs >= r.cfg.MaxInstalls {
		if evicted = r.leastNamed(key.Owner); evicted != nil {
			r.Forget(evicted)
		} else if !of.hasRoom(p.Target.Image, r.cfg.MaxInstalls) {
			known.Decision = selector.Decision{Verdict: selector.OverLimit, Detail: "its user names too many installs (--max-installs-per-user)"}
			return nil, false, nil
		}
	}
	to = newInstall(key, now)
	to.counted = p.Target.Image
	r.installs[key] = to
	r.count(to, 1)
	return to, true, evicted
}

// hasRoom reports whether a user may have one more install of a file. Those without a file count one by one.
func (o *owned) hasRoom(file selector.Image, most int) bool {
	without := o.files[selector.Image{}]
	isKnown := file.Known() && o.files[file] > 0
	return isKnown || len(o.files)+max(0, without-1) < most
}

// count adds to the counts of an install's user.
func (r *Registry) count(i *Install, n int) {
	of := r.perOwner[i.Owner]
	if of == nil {
		of = &owned{files: make(map[selector.Image]int)}
		r.perOwner[i.Owner] = of
	}
	of.installs += n
	if of.files[i.counted] += n; of.files[i.counted] == 0 {
		delete(of.files, i.counted)
	}
	if of.installs == 0 {
		delete(r.perOwner, i.Owner)
	}
}

// leastNamed is the install of a user that no process has named for the longest time, nil if all are named.
func (r *Registry) leastNamed(owner selector.User) (oldest *Install) {
	for _, i := range r.installs {
		if i.Owner == owner && !i.emptySince.IsZero() && (oldest == nil || i.emptySince.Before(oldest.emptySince)) {
			oldest = i
		}
	}
	return oldest
}

// Assign makes a process one of an install, and of no other.
func (r *Registry) Assign(p *Process, to *Install, now time.Time) {
	if p.Install != to {
		r.unassign(p, now)
	}
	p.Install = to
	to.members[p.PID], to.emptySince = p, time.Time{}
}

func (r *Registry) unassign(p *Process, now time.Time) {
	if p.Install == nil {
		return
	}
	delete(p.Install.members, p.PID)
	if len(p.Install.members) == 0 {
		p.Install.emptySince = now
	}
	p.Install = nil
}

// Remove forgets a process.
func (r *Registry) Remove(pid selector.PID, now time.Time) {
	delete(r.over, pid)
	p := r.processes[pid]
	if p == nil {
		return
	}
	delete(r.processes, pid)
	r.release(p.User)
	r.unassign(p, now)
}

func (r *Registry) release(user selector.User) {
	if r.perUser[user]--; r.perUser[user] == 0 {
		delete(r.perUser, user)
	}
}

// ForgetAt is when an install is to be forgotten unless a process names it by then; zero: not at all.
func (r *Registry) ForgetAt(i *Install) time.Time {
	if i.emptySince.IsZero() || !r.Learns() {
		return time.Time{}
	}
	return i.emptySince.Add(r.cfg.ForgetAfter)
}

// Forget forgets an install that no process names.
func (r *Registry) Forget(i *Install) {
	delete(r.installs, i.Key)
	r.count(i, -1)
}

// HasUser reports whether a user has processes.
func (r *Registry) HasUser(user selector.User) bool { return r.perUser[user] > 0 }

// Admits reports whether a user may have one process more, beside those that are known and those that are pending.
func (r *Registry) Admits(user selector.User, pending int) bool {
	return r.cfg.MaxProcesses == 0 || r.perUser[user]+pending < r.cfg.MaxProcesses
}
