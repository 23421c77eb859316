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

// contents is the content of a file. service is nil where nothing was kept.
type contents struct {
	service  *service
	rollouts map[uint64]rolloutLine
	servers  map[selector.PID]serverLine
}

// parse reads a whole file. Its errors are [ErrForeign].
func parse(content []byte, want header) (contents, error) {
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines = lines[:len(lines)-1] // what follows the last newline was not finished
	if len(lines) == 0 {
		return contents{}, unfinishedHeader(string(content))
	}
	if current, err := checkHeader(lines[0], want); err != nil || !current {
		return contents{}, err
	}
	found := contents{rollouts: make(map[uint64]rolloutLine), servers: make(map[selector.PID]serverLine)}
	for i, from := range lines[1:] {
		err := found.take(from)
		if err != nil && i < len(lines)-2 {
			return contents{}, fmt.Errorf("%w: line %d: %w", ErrForeign, i+2, err)
		}
	}
	return found, nil
}

func unfinishedHeader(s string) error {
	if strings.HasPrefix(magic, s) || strings.HasPrefix(s, magic) {
		return nil
	}
	return fmt.Errorf("%w: no header", ErrForeign)
}

// checkHeader reports whether the file belongs to this boot.
func checkHeader(from []byte, want header) (current bool, err error) {
	var h header
	switch err := decode(from, &h); {
	case err == nil:
	case h.Version != 0 && h.Version != want.Version: // another version may have other fields
	default:
		return false, fmt.Errorf("%w: header: %w", ErrForeign, err)
	}
	switch {
	case h.BootID != "" && h.BootID != want.BootID: // of any version and service
		return false, nil
	case h.Version != want.Version:
		return false, fmt.Errorf("%w: version %d", ErrForeign, h.Version)
	case h.Serves != want.Serves:
		return false, fmt.Errorf("%w: belongs to %q", ErrForeign, h.Serves)
	}
	return true, nil
}

var errOrder = errors.New("not in order")

// take adds one line. The line of the service comes first, and once.
func (c *contents) take(from []byte) error {
	var l line
	if err := decode(from, &l); err != nil {
		return err
	}
	if (l.Service != nil) != (c.service == nil) || !l.isSingle() {
		return errOrder
	}
	switch {
	case l.Service != nil:
		c.service = l.Service
	case l.Rollout != nil:
		if err := l.Rollout.check(); err != nil {
			return err
		}
		c.rollouts[l.Rollout.Number] = *l.Rollout
	case l.Server != nil:
		return c.takeServer(*l.Server)
	default:
		c.forget(l.Forget)
	}
	return nil
}

// isSingle reports whether exactly one field is set.
func (l line) isSingle() bool {
	n := 0
	for _, set := range []bool{l.Service != nil, l.Rollout != nil, l.Server != nil, l.Forget != 0} {
		if set {
			n++
		}
	}
	return n == 1
}

func (c *contents) takeServer(s serverLine) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.State.IsPersistent() {
		c.servers[s.PID] = s
	} else {
		delete(c.servers, s.PID)
	}
	return nil
}

func (c *contents) forget(number uint64) {
	delete(c.rollouts, number)
	maps.DeleteFunc(c.servers, func(_ selector.PID, s serverLine) bool { return s.Rollout == number })
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
	s := &rollout.Snapshots{Number: c.service.Number}
	servers := make(map[uint64][]rollout.MemberSnapshot)
	for _, pid := range slices.Sorted(maps.Keys(c.servers)) {
		server := c.servers[pid]
		servers[server.Rollout] = append(servers[server.Rollout], server.saved(now))
	}
	for _, number := range slices.Sorted(maps.Keys(c.rollouts)) {
		r := c.rollouts[number].saved(now)
		r.Members = servers[number]
		s.Rollouts = append(s.Rollouts, r)
		s.Number = max(s.Number, number)
	}
	return s
}
