// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"errors"
	"fmt"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/stage"
)

// at is the path with that name.
func (s *staging) at(path string) (*stagedPath, error) {
	for _, p := range s.paths {
		if p.Path == path {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", api.ErrNotStaged, path)
}

// Activate lets a staged release go on without the gate.
func (s *staging) Activate(r api.StageRequest) error {
	p, err := s.at(r.Path)
	if err != nil {
		return err
	}
	defer s.wakeUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.askAt, p.tries = time.Time{}, 0
	p.forgetFailedCheck()
	if err := p.Activate(r.Bake, time.Now()); err != nil {
		return fmt.Errorf("%w: %w: stage another file, or resume", api.ErrReleaseFailed, err)
	}
	return s.keepLocked(p)
}

// RollBack puts the file before back. A release that is in place counts as failed.
func (s *staging) RollBack(r api.StageRequest) error {
	p, err := s.at(r.Path)
	if err != nil {
		return err
	}
	if _, err := stage.ReleaseOf(stage.PreviousPath(r.Path)); err != nil {
		return fmt.Errorf("%w: %w", api.ErrNotRolledBack, err)
	}
	defer s.wakeUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch why := "rolled back by an operator"; {
	case p.IsRolledBack:
		return nil
	case p.State == stage.Activated, p.State == stage.Baking, p.State == stage.Proven, p.State == stage.Failed:
		if r.By.Reason != "" {
			why += ": " + r.By.Reason
		}
		p.RollBack(why, time.Now())
		return s.keepLocked(p)
	}
	return fmt.Errorf("%w: no staged file was put in place at %q: it is %s", api.ErrNotRolledBack, r.Path, p.State)
}

// source is Staged; nil where nothing is staged.
func (s *staging) source() func() []api.Staged {
	if s == nil {
		return nil
	}
	return s.Staged
}

// Poke makes the host ask its fleet now, for all paths.
func (s *staging) Poke() error {
	if s.fleet == nil {
		return api.ErrNoFleet
	}
	defer s.wakeUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isPoked = true
	return nil
}

// Staged says how far each path has come.
func (s *staging) Staged() (all []api.Staged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		until := p.Until
		if p.State == stage.Wanted && s.fleet != nil {
			until = p.askAt
		}
		all = append(all, api.Staged{
			Path: p.Path, Gate: s.gate.Name(), Release: string(p.Release), State: string(p.State), Since: p.Since, Why: p.Why,
			Until: until, Preflight: p.checked, RolledBack: p.IsRolledBack && p.files.Installed != p.Release,
			Deaths: p.progress.Deaths, Behind: p.progress.Behind,
		})
	}
	return all
}

// Unsettled says why a tool must not go on to the next host; nil: it may.
func (s *staging) Unsettled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		if why := p.Unsettled(); why != "" {
			return errors.New(why)
		}
	}
	return nil
}
