// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// contents is what a file keeps: the lines that no later line has replaced.
type contents struct {
	// number is that of the latest rollout.
	number   uint64
	rollouts map[uint64]*rolloutLine
	servers  map[selector.PID]*serverLine
}

func newContents(number uint64) contents {
	return contents{number, make(map[uint64]*rolloutLine), make(map[selector.PID]*serverLine)}
}

// parse reads a whole file. isKept says that it has a header of this boot. Its errors are [ErrForeign].
func parse(content []byte, want header) (found contents, isKept bool, err error) {
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines = lines[:len(lines)-1] // what follows the last newline was not finished
	if len(lines) == 0 {
		return contents{}, false, unfinishedHeader(string(content))
	}
	number, isCurrent, err := checkHeader(lines[0], want)
	if err != nil || !isCurrent {
		return contents{}, false, err
	}
	found = newContents(number)
	for i, from := range lines[1:] {
		var l line
		err := decode(from, &l)
		if err == nil {
			err = found.take(l)
		}
		if err != nil && i < len(lines)-2 {
			return contents{}, false, fmt.Errorf("%w: line %d: %w", ErrForeign, i+2, err)
		}
	}
	return found, true, nil
}

func unfinishedHeader(s string) error {
	if strings.HasPrefix(magic, s) || strings.HasPrefix(s, magic) {
		return nil
	}
	return fmt.Errorf("%w: no header", ErrForeign)
}

// checkHeader reports whether the file belongs to this boot, and the number of its latest rollout.
func checkHeader(from []byte, want header) (number uint64, isCurrent bool, err error) {
	var h header
	err = decode(from, &h)
	switch {
	case err != nil && (h.Version == 0 || h.Version == want.Version): // another version may have other fields
		return 0, false, fmt.Errorf("%w: header: %w", ErrForeign, err)
	case h.BootID != "" && h.BootID != want.BootID: // of any version and service
		return 0, false, nil
	case h.Version != want.Version:
		return 0, false, fmt.Errorf("%w: version %d", ErrForeign, h.Version)
	case h.Serves != want.Serves:
		return 0, false, fmt.Errorf("%w: belongs to %q", ErrForeign, h.Serves)
	}
	return h.Number, true, nil
}

// take adds one line, or nothing if the line is invalid.
func (c *contents) take(l line) error {
	switch {
	case l.Rollout != nil && l == line{Rollout: l.Rollout}:
		if err := l.Rollout.check(); err != nil {
			return err
		}
		c.rollouts[l.Rollout.Number] = l.Rollout
		c.number = max(c.number, l.Rollout.Number)
	case l.Server != nil && l == line{Server: l.Server}:
		if err := l.Server.check(); err != nil {
			return err
		}
		delete(c.servers, l.Server.PID)
		if l.Server.State.IsPersistent() {
			c.servers[l.Server.PID] = l.Server
		}
	case l.Forget != 0 && l == line{Forget: l.Forget}:
		delete(c.rollouts, l.Forget)
		maps.DeleteFunc(c.servers, func(_ selector.PID, s *serverLine) bool { return s.Rollout == l.Forget })
	default:
		return errors.New("not one record")
	}
	return nil
}

func (r *rolloutLine) check() error {
	if r.Number == 0 {
		return errors.New("rollout 0")
	}
	for _, m := range []*[2]int64{r.Install.Modified, r.Install.Born, r.Install.Changed} {
		if m != nil && (m[1] < 0 || m[1] >= int64(time.Second)) {
			return fmt.Errorf("a time of the installed file at %d ns of a second", m[1])
		}
	}
	return checkMoments(r.Started)
}

func (s *serverLine) check() error {
	if s.PID <= 0 {
		return fmt.Errorf("pid %d", s.PID)
	}
	return checkMoments(s.Since, s.SignalledAt, s.ArmedAt)
}

func checkMoments(moments ...*int64) error {
	for _, m := range moments {
		if m != nil && (*m > maxMoment || *m < -maxMoment) {
			return fmt.Errorf("%d ns after boot", *m)
		}
	}
	return nil
}

// saved leaves out the servers of rollouts that are not in the file.
func (c contents) saved(now clock) *rollout.Snapshots {
	s := &rollout.Snapshots{Number: c.number}
	servers := make(map[uint64][]rollout.Member)
	for _, pid := range slices.Sorted(maps.Keys(c.servers)) {
		server := c.servers[pid]
		servers[server.Rollout] = append(servers[server.Rollout], server.saved(now))
	}
	for _, number := range slices.Sorted(maps.Keys(c.rollouts)) {
		r := c.rollouts[number].saved(now)
		r.Members = servers[number]
		s.Rollouts = append(s.Rollouts, r)
	}
	return s
}
