// SPDX-License-Identifier: MIT

package registry

import (
	"slices"
	"time"

	"ebpf-upgrader/selector"
)

// Expected is what a process is compared with at its delivery, as it was when the delivery was planned. It is not changed any
// more, and safe for concurrent use.
type Expected struct {
	key   Key
	file  selector.Install
	since time.Time
	// fixed are the files of the installs that the operator named for view, and at the place of file among them.
	fixed []selector.Install
	view  selector.View
	at    int
}

// ReasonChanged is the reason of a process with an install that was replaced a moment ago: its new file is not reported yet.
const ReasonChanged = "has just changed"

// reasonOther is another reason why a process has no install that is ready.
const reasonOther = "names another install now"

// Expect is what a process of an install is compared with at its delivery.
func (r *Registry) Expect(of *Install) Expected {
	if r.Learns() {
		return Expected{key: of.Key, file: of.File, since: of.ReportedAt}
	}
	return Expected{key: of.Key, file: of.File, since: r.lastReport(), fixed: r.Files(), view: r.cfg.View, at: slices.Index(r.fixed, of)}
}

// Interpreters are those of all installs that the operator named. Other files are inspected in their own roots.
func (e Expected) Interpreters() []string { return interpreters(e.fixed) }

// Since is when the file was reported.
func (e Expected) Since(selector.Process) time.Time { return e.since }

// Of is the file that a process is compared with.
func (e Expected) Of(p selector.Process) selector.Install {
	if e.fixed == nil {
		if KeyOf(p) != e.key {
			return unresolved(p, reasonOther)
		}
		return fileFor(p, e.file)
	}
	if i := slices.IndexFunc(e.fixed, func(f selector.Install) bool { return leadsTo(p, f) }); i >= 0 && i != e.at {
		return unresolved(p, reasonOther)
	}
	if e.key.isNamedBy(p, e.view) {
		return fileFor(p, e.file)
	}
	return e.file
}

// leadsTo reports whether a process would exec that file.
func leadsTo(p selector.Process, file selector.Install) bool {
	return p.Target.Known() && file.Image == p.Target.Image
}

// fileFor is the file that was reported, unless the process would exec another one by now.
func fileFor(p selector.Process, file selector.Install) selector.Install {
	if file.Image != p.Target.Image {
		return unresolved(p, ReasonChanged)
	}
	return file
}

// unresolved is the install of a process for which no file was reported: it can be told whether the process runs what it
// would exec, but not whether that can be exec'd.
func unresolved(p selector.Process, why string) selector.Install {
	return selector.Install{Path: p.Path, Image: p.Target.Image, State: selector.StateUnready, Detail: why}
}

func interpreters(files []selector.Install) (all []string) {
	for _, f := range files {
		all = append(all, f.Interpreters...)
	}
	return all
}
