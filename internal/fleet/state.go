// SPDX-License-Identifier: MIT

package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Limits of a record.
const (
	MaxStateBytes = 512 << 10
	maxReleases   = 8
	maxMarks      = 100
	maxWhy        = 120
	maxDone       = 1_000_000_000
)

// State is the record that the hosts share. The operator creates it empty; hosts change it by compare-and-swap.
type State struct {
	// Version is 1.
	Version  int       `json:"version"`
	Releases []Release `json:"releases,omitempty"`
}

// Release is what the hosts did with one file.
type Release struct {
	// ID is "sha256:" and the digest of the file.
	ID string `json:"id"`
	// Done is the number of hosts on which at least one server has run the file for the hold time. Each counts once.
	Done int `json:"done,omitempty"`
	// Hosts are the ids of those in Done, sorted, as many as decide when a wave opens: the hosts of the wave before the last.
	Hosts []string `json:"hosts,omitempty"`
	// Proven has the time at which each wave had its hosts done, in the order of the waves.
	Proven []time.Time `json:"proven,omitempty"`
	// Seats are the hosts that are at it. Failed are those on which the release failed, or that vanished.
	Seats  []Seat       `json:"seats,omitempty"`
	Failed []FailedHost `json:"failed,omitempty"`
}

// Seat is a host that may put the file in place, or has just done so.
type Seat struct {
	// Host is its id. Name is for people.
	Host string `json:"host"`
	Name string `json:"name"`
	// Time is when the host asked last, by the engine's clock.
	Time time.Time `json:"time"`
	// Idle marks a host with the file in place and no server left that could prove it. It takes no slot.
	Idle bool `json:"idle,omitempty"`
	// Counted marks a host that was done when it got the seat: it puts the file in place at another path, or once more.
	Counted bool `json:"counted,omitempty"`
}

// FailedHost is a host on which the release failed, or which vanished with a seat.
type FailedHost struct {
	// Host is its id. Name is for people.
	Host string `json:"host"`
	Name string `json:"name"`
	// Time is when it was reported, or noticed.
	Time time.Time `json:"time"`
	// Why is for people.
	Why string `json:"why"`
	// Vanished says that the host had a seat and was not heard of.
	Vanished bool `json:"vanished,omitempty"`
}

// ParseState reads a record and checks it. An empty one is that of a fleet without releases.
func ParseState(data []byte) (State, error) {
	s := State{Version: 1}
	if len(data) > MaxStateBytes {
		return s, fmt.Errorf("the record has more than %d bytes", MaxStateBytes)
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 {
		return s, nil
	}
	if err := decode(data, &s); err != nil {
		return State{}, err
	}
	return s, s.check()
}

func (s *State) check() error {
	if s.Version != 1 {
		return fmt.Errorf("version is %d, must be 1", s.Version)
	}
	for i := range s.Releases {
		r := &s.Releases[i]
		switch {
		case !validRelease(r.ID):
			return fmt.Errorf("the record names %.80q, which is no release", r.ID)
		case r.Done < 0 || r.Done > maxDone:
			return fmt.Errorf("done is %d, must be 0 to %d", r.Done, maxDone)
		case len(r.Hosts) > r.Done || !isSortedSet(r.Hosts):
			return fmt.Errorf("the hosts of release %s are not those in done", Short(r.ID))
		case s.index(r.ID) != i:
			return fmt.Errorf("release %s is there twice", Short(r.ID))
		}
		for j, seat := range r.Seats {
			if r.seat(seat.Host) != j {
				return fmt.Errorf("host %.80q has two seats", seat.Host)
			}
		}
		for j, f := range r.Failed {
			if r.mark(f.Host) != j {
				return fmt.Errorf("host %.80q has failed twice", f.Host)
			}
		}
	}
	return nil
}

// Encode writes the record as the engines keep it.
func (s *State) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return bytes.TrimSpace(b.Bytes()), err
}

// Entered is the number of hosts that have the file in place, or may put it there.
func (r *Release) Entered() int {
	n := r.Done
	for _, seat := range r.Seats {
		if !seat.Counted {
			n++
		}
	}
	return n
}

// InUse is the number of seats that take a slot.
func (r *Release) InUse() int {
	n := 0
	for _, seat := range r.Seats {
		if !seat.Idle {
			n++
		}
	}
	return n
}

// Find returns the record of a release, nil if no host has entered it. It points into s.
func (s *State) Find(release string) *Release {
	if i := s.index(release); i >= 0 {
		return &s.Releases[i]
	}
	return nil
}

func (s *State) index(release string) int {
	return slices.IndexFunc(s.Releases, func(r Release) bool { return r.ID == release })
}

// add returns the record of a release. The oldest releases without a seat make room for it.
func (s *State) add(release string) *Release {
	if r := s.Find(release); r != nil {
		return r
	}
	for len(s.Releases) >= maxReleases {
		i := slices.IndexFunc(s.Releases, func(r Release) bool { return len(r.Seats) == 0 })
		if i < 0 {
			break
		}
		s.Releases = slices.Delete(s.Releases, i, i+1)
	}
	s.Releases = append(s.Releases, Release{ID: release})
	return &s.Releases[len(s.Releases)-1]
}

func (s *State) inUse() int {
	n := 0
	for i := range s.Releases {
		n += s.Releases[i].InUse()
	}
	return n
}

func (r *Release) seat(host string) int {
	return slices.IndexFunc(r.Seats, func(s Seat) bool { return s.Host == host })
}

func (r *Release) mark(host string) int {
	return slices.IndexFunc(r.Failed, func(f FailedHost) bool { return f.Host == host })
}

// counts says whether a host is in Done. Of those that the record does not name the host itself knows.
func (r *Release) counts(h Host) bool {
	_, isNamed := slices.BinarySearch(r.Hosts, h.ID)
	return isNamed || h.Counted && r.Done > len(r.Hosts)
}

// count adds a host to Done. The record names the first most hosts.
func (r *Release) count(h Host, most int) {
	r.Done++
	if i, _ := slices.BinarySearch(r.Hosts, h.ID); len(r.Hosts) < most {
		r.Hosts = slices.Insert(r.Hosts, i, h.ID)
	}
}

// uncount takes a host out of Done.
func (r *Release) uncount(h Host) {
	r.Done--
	if i, isNamed := slices.BinarySearch(r.Hosts, h.ID); isNamed {
		r.Hosts = slices.Delete(r.Hosts, i, i+1)
	}
}

func isSortedSet(ids []string) bool {
	return slices.IsSorted(ids) && len(slices.Compact(slices.Clone(ids))) == len(ids)
}

func (r *Release) dropSeat(i int) { r.Seats = slices.Delete(r.Seats, i, i+1) }

func (r *Release) dropMark(i int) { r.Failed = slices.Delete(r.Failed, i, i+1) }
