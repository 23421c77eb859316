// SPDX-License-Identifier: MIT

package registry

import (
	"time"

	"ebpf-upgrader/selector"
)

// resolver says which install a process belongs to.
type resolver interface {
	// find returns the install of a process, nil if there is none yet. current is the one that it had.
	find(p selector.Process, current *Install) *Install
	// file is what a process of an install is compared with, and since when that was reported.
	file(p selector.Process, of *Install) selector.Install
	since(p selector.Process, of *Install) time.Time
	// expect is a snapshot for a delivery to a process of an install.
	expect(of *Install) Expected
	// learns reports whether a process may add an install.
	learns() bool
}

// Expected says what a process is compared with at its delivery, as it was when the delivery was planned. It is not changed
// any more, and safe for concurrent use.
type Expected interface {
	Interpreters() []string
	Of(p selector.Process) selector.Install
	Since(p selector.Process) time.Time
}

// Reasons why a process has no install that is ready.
const (
	reasonChanged = "has just changed"
	reasonOther   = "names another install now"
)

// learned resolves installs that the servers name.
type learned struct {
	installs map[Key]*Install
}

func (l learned) learns() bool { return true }

func (l learned) find(p selector.Process, _ *Install) *Install { return l.installs[KeyOf(p)] }

func (l learned) file(p selector.Process, of *Install) selector.Install {
	if of == nil {
		return unresolved(p, ReasonUnreported)
	}
	return fileFor(p, of.File)
}

// fileFor is the file that was reported, unless the process would exec another one by now.
func fileFor(p selector.Process, file selector.Install) selector.Install {
	if file.Image != p.Target.Image {
		return unresolved(p, reasonChanged)
	}
	return file
}

func (l learned) since(_ selector.Process, of *Install) time.Time {
	if of == nil {
		return time.Time{}
	}
	return of.ReportedAt
}

func (l learned) expect(of *Install) Expected {
	return expectedLearned{of.Key, of.File, of.ReportedAt}
}

type expectedLearned struct {
	key   Key
	file  selector.Install
	since time.Time
}

// Interpreters are none: each file is inspected in its own root.
func (expectedLearned) Interpreters() []string { return nil }

func (e expectedLearned) Since(selector.Process) time.Time { return e.since }

func (e expectedLearned) Of(p selector.Process) selector.Install {
	if KeyOf(p) != e.key {
		return unresolved(p, reasonOther)
	}
	return fileFor(p, e.file)
}

// fixed resolves installs that the operator named: a process belongs to the one with the file that it would exec.
type fixed struct {
	installs []*Install
}

func (f fixed) learns() bool { return false }

func (f fixed) find(p selector.Process, current *Install) *Install {
	for _, i := range f.installs {
		if p.Target.Known() && i.File.Image == p.Target.Image {
			return i
		}
	}
	if current != nil { // its file has just been replaced, or is missing
		return current
	}
	return f.installs[0]
}

func (f fixed) file(_ selector.Process, of *Install) selector.Install { return of.File }

// since is the latest report: a process that was inspected before it can belong to any install.
func (f fixed) since(selector.Process, *Install) (since time.Time) {
	for _, i := range f.installs {
		if i.ReportedAt.After(since) {
			since = i.ReportedAt
		}
	}
	return since
}

func (f fixed) expect(of *Install) Expected {
	e := &expectedFixed{since: f.since(selector.Process{}, nil)}
	for _, i := range f.installs {
		e.files = append(e.files, i.File)
		e.interpreters = append(e.interpreters, i.File.Interpreters...)
		if i == of {
			e.want = len(e.files) - 1
		}
	}
	return e
}

type expectedFixed struct {
	files        []selector.Install
	want         int
	interpreters []string
	since        time.Time
}

func (e *expectedFixed) Interpreters() []string { return e.interpreters }

func (e *expectedFixed) Since(selector.Process) time.Time { return e.since }

func (e *expectedFixed) Of(p selector.Process) selector.Install {
	for i, file := range e.files {
		if p.Target.Known() && file.Image == p.Target.Image && i != e.want {
			return unresolved(p, reasonOther)
		} else if p.Target.Known() && file.Image == p.Target.Image {
			break
		}
	}
	return e.files[e.want]
}
