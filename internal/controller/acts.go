// SPDX-License-Identifier: MIT

package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/internal/rollout"
)

// maxPausedUsers limits the users that are paused on their own: each of them is kept on disk, and any may ask for it.
const maxPausedUsers = 1024

// Act carries out what an operator requested. It does so whatever fails later: with an error other than [api.ErrNoRollout] and
// [api.ErrTooMany] the next process will not know of it. It waits for the disk that keeps a pause, in the caller's goroutine.
func (c *Controller) Act(ctx context.Context, a api.Act) (done api.Acted, err error) {
	c.steering.Lock()
	defer c.steering.Unlock()
	var failed error
	var pauses rollout.Pauses
	err = c.do(ctx, func(context.Context) {
		done, failed = c.rollouts.act(a, c.cfg.Acted)
		pauses = c.rollouts.pauses
	})
	if err == nil && a.Kind != api.ActAbandon {
		err = c.cfg.KeepPauses(pauses)
	}
	return done, errors.Join(err, failed)
}

// act carries out an act, and reports it if it changes anything.
func (s *rollouts) act(a api.Act, acted func(api.Act)) (done api.Acted, err error) {
	done = api.Acted{SchemaVersion: api.SchemaVersion, User: a.User, Rollouts: []uint64{}}
	before := s.pauses
	switch a.Kind {
	case api.ActPause:
		done.Paused = before.Of(a.User)
		if a.User != nil && len(before.Users) >= maxPausedUsers {
			return done, fmt.Errorf("%w on their own: %d", api.ErrTooMany, maxPausedUsers)
		}
		s.pauses = before.With(a.User, a.By)
	case api.ActResume:
		if a.Path == "" {
			done.Paused = before.Of(a.User)
			s.pauses = before.Without(a.User)
		}
		done.Rollouts = s.each(a, func(r *attached) bool { return r.Resume(a.User, time.Now()) > 0 })
	case api.ActAbandon:
		done.Rollouts = s.each(a, func(r *attached) bool { return r.Abandon(a.User, a.By) })
		if len(done.Rollouts) == 0 {
			return done, fmt.Errorf("%w of install %q that could be abandoned", api.ErrNoRollout, a.Path)
		}
	}
	isChanged := before.All != s.pauses.All || len(before.Users) != len(s.pauses.Users) || len(done.Rollouts) > 0
	if isChanged {
		acted(a)
	}
	s.touchAll()
	switch {
	case a.Kind == api.ActResume && a.User == nil:
		err = s.persist.all(s.number, s.kept())
	case len(done.Rollouts) > 0:
		err = s.persist.err
	}
	return done, err
}

// each calls change for the rollouts that an act concerns, and returns the numbers of those for which it returns true.
func (s *rollouts) each(a api.Act, change func(*attached) bool) []uint64 {
	numbers := []uint64{}
	for _, r := range s.byImage {
		if (a.Path == "" || r.leadsFrom(a.Path)) && change(r) {
			s.persist.rollout(r)
			numbers = append(numbers, r.Number())
		}
	}
	slices.Sort(numbers)
	return numbers
}

// leadsFrom reports whether an install at path leads to the file of the rollout.
func (r *attached) leadsFrom(path string) bool {
	return r.Install().Path == path || slices.ContainsFunc(r.installs, func(i *registry.Install) bool { return i.Path == path })
}

// maxAbandoned limits the abandoned rollouts that are kept without an install: the latest are.
const maxAbandoned = 256

// isAbandonedFile reports whether a rollout is to be kept although no install leads to its file: an operator abandoned it,
// and a server may name the file again.
func (s *rollouts) isAbandonedFile(r *attached) bool {
	return r.IsAbandoned() && s.byImage[r.Install().Image] == r
}

// trimAbandoned forgets the earliest abandoned rollouts without an install, where there are more than [maxAbandoned].
func (s *rollouts) trimAbandoned() {
	var kept []*attached
	for _, r := range s.byImage {
		if r.IsAbandoned() && len(r.installs) == 0 && !s.hasUnbound(r) {
			kept = append(kept, r)
		}
	}
	slices.SortFunc(kept, func(a, b *attached) int { return cmp.Compare(b.Number(), a.Number()) })
	for _, r := range kept[min(len(kept), maxAbandoned):] {
		delete(s.byImage, r.Install().Image)
		s.persist.forget(r)
	}
}
