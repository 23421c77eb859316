// SPDX-License-Identifier: MIT

package controller

import (
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// Place is where an install stands for some servers: a path, as it leads in what they see of the files
// of the host, on behalf of their user. The zero View is that of this process, whatever it is.
type Place struct {
	View  selector.View
	Path  string
	Owner uint32
}

// Found is what stands at a place.
type Found struct {
	Place   Place
	Install selector.Install
}

// watcher says what stands at places. None of its methods waits for a file system that does not
// answer.
type watcher interface {
	// Watch begins to tell what stands at a place, and Forget ends that.
	Watch(p Place)
	Forget(p Place)
	// Found gives what stands at the places: first as it is, then whenever that changes. Who reads late
	// gets the latest of each.
	Found() <-chan Found
	// Check looks at a place now.
	Check(p Place) selector.Install
	// Sees says that a process has that view, and Ended that it is gone: other roots than our own can be
	// seen only through a process that lives there.
	Sees(v selector.View, id selector.Identity)
	Ended(v selector.View, id selector.Identity)
}

// place is a Place with what is known of it.
type place struct {
	Place
	// install is what was told last. Before, it is unready.
	install selector.Install
	// rollout is that of what stood there when it was ready last; nil when that was never.
	rollout *attached
	// servers are those that name it.
	servers map[selector.PID]bool
	// empty is when the last of them went.
	empty time.Time
	// deaths are those of servers that another sender signalled before the file here had settled.
	deaths []rollout.Death
	// again is when everybody who names it is to be looked at; zero for not at all. Nobody is asked
	// before.
	again time.Time
	// left are those of them who were not looked at yet, when a part was.
	left map[selector.PID]bool
	// ahead says that the install was found by a look at the path, and is yet to be told. behind is when
	// the path is looked at again meanwhile, and doubt what was found then.
	ahead  bool
	behind time.Time
	doubt  selector.Install
	// checked is when the install was found to be still ready, and told when it was told last.
	checked, told time.Time
}

// unseen is what stands at a place that was not looked at yet.
const unseen = "has not been looked at yet"

func newPlace(p Place, now time.Time) *place {
	return &place{
		Place:   p,
		install: selector.Install{Path: p.Path, State: selector.StateUnready, Detail: unseen},
		servers: make(map[selector.PID]bool), empty: now,
	}
}

// ready reports whether something stands there that can be exec'd.
func (p *place) ready() bool { return p.install.State == selector.StateReady }

// asks reports whether those who name it may be asked.
func (p *place) asks() bool { return p != nil && p.ready() && p.again.IsZero() }

// places has the places that are watched, and says which of them a process belongs to.
type places struct {
	// fixed are those that the operator named. If there are any, there are no others.
	fixed []*place
	all   map[Place]*place
	// next is no later than when a place is due; zero when none is.
	next time.Time
}

func newPlaces(paths []string, now time.Time) places {
	ps := places{all: make(map[Place]*place)}
	for _, path := range paths {
		p := newPlace(Place{Path: path}, now)
		ps.all[p.Place] = p
		ps.fixed = append(ps.fixed, p)
	}
	return ps
}

// named is what a process names; ok is false where that cannot be told.
func named(p selector.Process) (at Place, ok bool) {
	return Place{p.View, p.Path, p.Credentials.Owner}, p.Path != ""
}

// of is the place of a process: the one that it names or, where the operator named them, the one that
// has the file that it would exec. home is where it belonged before. It is nil for a process that
// names none.
func (ps *places) of(p selector.Process, home *place) *place {
	if len(ps.fixed) == 0 {
		at, _ := named(p)
		return ps.all[at]
	}
	for _, candidate := range ps.fixed {
		if p.Target.Known() && candidate.install.Image == p.Target.Image {
			return candidate
		}
	}
	if home != nil { // what it names has just been replaced, or is missing
		return home
	}
	return ps.fixed[0]
}

// lookAgain plans a look at everybody who names a place.
func (ps *places) lookAgain(p *place, at time.Time) {
	p.again = at
	ps.schedule(at)
}

// schedule makes sure that due is asked no later than then.
func (ps *places) schedule(at time.Time) {
	if ps.next.IsZero() || at.Before(ps.next) {
		ps.next = at
	}
}

// lookBehind plans a look at a place where one was ahead of what is told.
func (ps *places) lookBehind(p *place, at time.Time) {
	p.behind = at
	ps.schedule(at)
}

// due are the places whose time has come: those where all are to be looked at again, those where a look was
// ahead of what is told, and those that nobody has named for too long.
func (ps *places) due(now time.Time, forgetAfter time.Duration) (again, ahead, forgotten []*place) {
	if ps.next.IsZero() || ps.next.After(now) {
		return nil, nil, nil
	}
	ps.next = time.Time{}
	for _, p := range ps.all {
		switch {
		case !p.ahead:
		case p.behind.After(now):
			ps.schedule(p.behind)
		default:
			ahead = append(ahead, p)
		}
		end := p.empty.Add(forgetAfter)
		switch {
		case !p.again.IsZero() && !p.again.After(now):
			again = append(again, p)
		case !p.again.IsZero():
			ps.schedule(p.again)
		case p.empty.IsZero() || len(ps.fixed) > 0:
		case !end.After(now):
			forgotten = append(forgotten, p)
		default:
			ps.schedule(end)
		}
	}
	return again, ahead, forgotten
}

// compared is the service as a look at processes sees it: it is not changed while one is under way.
type compared struct{ s *Service }

// Interpreters are asked for only where one file is checked for several roots.
func (c compared) Interpreters() []string {
	var all []string
	for _, p := range c.s.places.fixed {
		all = append(all, p.install.Interpreters...)
	}
	return all
}

// All are the installs that the operator named; those of servers stand with these.
func (c compared) All() []selector.Install {
	all := []selector.Install{}
	for _, p := range c.s.places.fixed {
		all = append(all, p.install)
	}
	return all
}

// Of is what stands at the place of a process.
func (c compared) Of(p selector.Process) selector.Install {
	home := c.s.places.of(p, c.s.home(p.PID))
	switch {
	case home == nil:
		return pathless(p, unseen)
	case len(c.s.places.fixed) == 0 && home.install.Image != p.Target.Image:
		return pathless(p, "has just changed")
	}
	return home.install
}

// Since is when it was told what stands there. Where the operator named the places, a process that was asked after before
// can belong to any.
func (c compared) Since(p selector.Process) (since time.Time) {
	if len(c.s.places.fixed) == 0 {
		if home := c.s.places.of(p, nil); home != nil {
			return home.told
		}
		return time.Time{}
	}
	for _, home := range c.s.places.fixed {
		if home.told.After(since) {
			since = home.told
		}
	}
	return since
}

// atHome is the same for a process that is to be asked because of what stands at one place.
type atHome struct {
	compared
	home *place
}

// Of turns down a process that names another place than it did when it was planned for.
func (h atHome) Of(p selector.Process) selector.Install {
	if h.s.places.of(p, h.home) != h.home {
		return pathless(p, "names another install now")
	}
	return h.compared.Of(p)
}

// pathless is the install of a process that names no place which is watched: it can be told whether
// the process runs what it would exec, but not whether that can be exec'd.
func pathless(p selector.Process, why string) selector.Install {
	return selector.Install{Path: p.Path, Image: p.Target.Image, State: selector.StateUnready, Detail: why}
}
