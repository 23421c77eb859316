// SPDX-License-Identifier: MIT

package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Host is one that asks.
type Host struct {
	// ID is the same after each restart of the service, and different on every host.
	ID string
	// Name is shown to people.
	Name string
	// Ring is the label by which a wave may be kept for some hosts.
	Ring string
	// Idle: the host runs no server that could prove the release.
	Idle bool
	// Counted: the host remembers that it is in Release.Done. That counts where the record does not name all of them.
	Counted bool
}

// Open returns the outermost open wave of a release. r may be nil.
func (p *Policy) Open(release string, r *Release, now time.Time) int {
	last := len(p.Waves) - 1
	k := 0
	for r != nil && k < last && k < len(r.Proven) && !now.Before(r.Proven[k].Add(time.Duration(p.Waves[k].Bake))) {
		k++
	}
	for id, wave := range p.Promote {
		if named(release, id) {
			k = max(k, wave)
		}
	}
	return min(k, last)
}

// Enter asks for a seat, or renews the one that the host has. It changes s and says whether it did; asking twice has no
// further effect. The caller owns s and writes it back if it changed.
func (p *Policy) Enter(s *State, h Host, release string, now time.Time) (Answer, bool) {
	changed := p.expire(s, h.ID, now)
	r := s.Find(release)
	k := p.Open(release, r, now)
	if r != nil {
		if i := r.seat(h.ID); i >= 0 {
			return Answer{Reason: Granted, Wave: k}, p.renew(&r.Seats[i], now) || changed
		}
		if i := r.mark(h.ID); i >= 0 {
			if !r.Failed[i].Vanished {
				return Answer{Reason: Failed, Wave: k, Text: "the release failed on this host: " + r.Failed[i].Why}, changed
			}
			// A host that asks has not vanished.
			r.dropMark(i)
			changed = true
		}
	}
	if a := p.wait(s, r, h, release, k); a.Reason != Granted {
		a.Wave = k
		return a, changed
	}
	r = s.add(release)
	r.Seats = append(r.Seats, Seat{Host: h.ID, Name: clip(h.Name, maxName), Time: stamp(now), Counted: r.counts(h)})
	return Answer{Reason: Granted, Wave: k}, true
}

// wait says why a host without a seat gets none now.
func (p *Policy) wait(s *State, r *Release, h Host, release string, k int) Answer {
	w := p.Waves[k]
	last := k == len(p.Waves)-1
	if r == nil {
		r = &Release{}
	}
	isNew := !r.counts(h) // a host that is done has its place in the waves
	switch {
	case p.Paused != "":
		return Answer{Reason: Paused, Text: "the fleet is paused: " + p.Paused}
	case p.Pinned != "" && !named(release, p.Pinned):
		return Answer{Reason: Pinned, Text: "the fleet is pinned to " + Short(p.Pinned)}
	case len(r.Failed) >= w.MaxFailed:
		return Answer{Reason: Halted, Text: fmt.Sprintf("halted in wave %s: failed on %s", w.Name, r.names())}
	case !last && isNew && r.Entered() >= w.Hosts && k < len(r.Proven):
		until := r.Proven[k].Add(time.Duration(w.Bake))
		return Answer{Reason: Baking, Until: until, Text: fmt.Sprintf("wave %s bakes until %s (%d of %d hosts done)", w.Name, until.UTC().Format("15:04 MST"), r.Done, w.Hosts)}
	case !last && isNew && r.Entered() >= w.Hosts:
		return Answer{Reason: NotDone, Text: fmt.Sprintf("wave %s is full: %d of %d hosts done", w.Name, r.Done, w.Hosts)}
	case !last && isNew && h.Idle:
		return Answer{Reason: IdleHost, Text: fmt.Sprintf("wave %s takes hosts with servers only", w.Name)}
	case len(w.Only) > 0 && isNew && !slices.Contains(w.Only, h.Ring):
		return Answer{Reason: Ring, Text: fmt.Sprintf("wave %s takes ring %s only", w.Name, strings.Join(w.Only, ", "))}
	case s.inUse() >= w.Slots:
		return Answer{Reason: Full, Text: fmt.Sprintf("all %d slots of wave %s are taken", w.Slots, w.Name)}
	}
	return Answer{Reason: Granted}
}

// renew writes the time of a seat anew when a third of vanish has gone by. It makes an idle seat a seat again.
func (p *Policy) renew(seat *Seat, now time.Time) bool {
	if !seat.Idle && now.Sub(seat.Time) < p.Renew() {
		return false
	}
	seat.Time, seat.Idle = stamp(now), false
	return true
}

// Renew is how often a host with a seat asks again.
func (p *Policy) Renew() time.Duration { return time.Duration(p.Vanish) / 3 }

// expire takes away the seats that were not renewed, except those of the host that asks.
func (p *Policy) expire(s *State, asking string, now time.Time) bool {
	changed := false
	for i := range s.Releases {
		r := &s.Releases[i]
		for j, seat := range slices.Backward(r.Seats) {
			if seat.Host == asking || now.Sub(seat.Time) <= time.Duration(p.Vanish) {
				continue
			}
			changed = true
			r.dropSeat(j)
			if !seat.Idle {
				r.fail(FailedHost{Host: seat.Host, Name: seat.Name, Time: stamp(now), Why: "vanished", Vanished: true})
			}
		}
	}
	return changed
}

// Done reports that at least one server of the host has run the release for the hold time. The seat ends. A mark of the
// host goes. A host with neither changes nothing: it is counted already, or entered without the fleet.
func (p *Policy) Done(s *State, h Host, release string, now time.Time) bool {
	r := s.Find(release)
	if r == nil {
		return false
	}
	seat, mark := r.seat(h.ID), r.mark(h.ID)
	if seat < 0 && mark < 0 {
		return false
	}
	if seat >= 0 {
		r.dropSeat(seat)
	}
	if mark >= 0 {
		r.dropMark(mark)
	}
	if !r.counts(h) {
		r.count(h, p.Waves[max(0, len(p.Waves)-2)].Hosts)
	}
	for k := len(r.Proven); k < len(p.Waves)-1 && r.Done >= p.Waves[k].Hosts; k++ {
		r.Proven = append(r.Proven, stamp(now))
	}
	return true
}

// Nothing reports that the host proves nothing. Its place goes to another host: at once if the file was not put in place.
// Otherwise, before the last wave, after vanish: short-lived servers must not spread a file over hosts without number.
func (p *Policy) Nothing(s *State, host, release string, inPlace bool, now time.Time) bool {
	r := s.Find(release)
	if r == nil {
		return false
	}
	i := r.seat(host)
	switch {
	case i < 0 || r.Seats[i].Idle:
		return false
	case inPlace && !r.Seats[i].Counted && p.Open(release, r, now) < len(p.Waves)-1:
		r.Seats[i].Idle, r.Seats[i].Time = true, stamp(now)
	default:
		r.dropSeat(i)
	}
	return true
}

// Fail reports that the release failed on the host. Another host gets its place, if the release is not halted. A host that
// was done before is done no longer.
func (p *Policy) Fail(s *State, h Host, release, why string, now time.Time) bool {
	r := s.add(release)
	mark := FailedHost{Host: h.ID, Name: clip(h.Name, maxName), Time: stamp(now), Why: clip(why, maxWhy)}
	if i := r.mark(h.ID); i >= 0 {
		if !r.Failed[i].Vanished {
			return false
		}
		r.dropMark(i)
	}
	switch i := r.seat(h.ID); {
	case i >= 0:
		r.dropSeat(i)
	case len(r.Failed) >= maxMarks:
		// Without a mark a second report of the same host would count again.
		return false
	}
	if r.counts(h) {
		r.uncount(h)
		p.unprove(r)
	}
	r.fail(mark)
	return true
}

// unprove forgets the proof of waves that have too few hosts left: they bake again when another host has taken the place.
func (p *Policy) unprove(r *Release) {
	for k := len(r.Proven) - 1; k >= 0 && k < len(p.Waves) && r.Done < p.Waves[k].Hosts; k-- {
		r.Proven = r.Proven[:k]
	}
}

// Bake is how long a host with a seat in wave k watches for late crashes. Those of the last wave watch as long as those of
// the wave before.
func (p *Policy) Bake(k int) time.Duration {
	if k > 0 && k == len(p.Waves)-1 {
		k--
	}
	return time.Duration(p.Waves[k].Bake)
}

// Clear takes the mark of a host away, in every release. Name or id.
func Clear(s *State, host string) bool {
	changed := false
	for i := range s.Releases {
		r := &s.Releases[i]
		before := len(r.Failed)
		r.Failed = slices.DeleteFunc(r.Failed, func(f FailedHost) bool { return f.Host == host || f.Name == host })
		changed = changed || len(r.Failed) != before
	}
	return changed
}

// fail adds a mark, one for each host. Beyond maxMarks none is added: the release is halted long since, and a record has
// its limit.
func (r *Release) fail(f FailedHost) {
	if len(r.Failed) < maxMarks && r.mark(f.Host) < 0 {
		r.Failed = append(r.Failed, f)
	}
}

// names lists the failed hosts, the first three of them.
func (r *Release) names() string {
	var names []string
	for _, f := range r.Failed[:min(3, len(r.Failed))] {
		names = append(names, f.Name)
	}
	if more := len(r.Failed) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// stamp is a time as the record keeps it: engines tell seconds.
func stamp(now time.Time) time.Time { return now.UTC().Truncate(time.Second) }

// clip shortens text to n bytes of printable characters.
func clip(text string, n int) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) && c != utf8.RuneError {
			return c
		}
		return '?'
	}, text)
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
