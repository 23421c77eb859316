// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"slices"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/launch"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/selector"
)

// knownRelease is what was read of a file: each content is read once.
type knownRelease struct {
	file    selector.Install
	release stage.Release
	err     error
}

// releaseOf returns the release at a path; empty: there is no file.
func (p *stagedPath) releaseOf(path string) (stage.Release, error) {
	file := install.Stat(install.RootedPath{Path: path})
	if file.State == selector.StateMissing {
		return "", nil
	}
	known, isKnown := p.releases[path]
	if !isKnown || !known.file.SameFile(file) || !known.file.Changed.Equal(file.Changed) {
		known = knownRelease{file: file}
		known.release, known.err = stage.ReleaseOf(path)
		p.releases[path] = known
	}
	return known.release, known.err
}

// read returns what stands at the two paths, and why a staged file is not taken. A staged file counts once it has settled.
func (p *stagedPath) read(settled selector.Install) (files stage.Files, problem string, err error) {
	files.Installed, err = p.releaseOf(p.Path)
	if err != nil {
		return files, "", err
	}
	next := stage.NextPath(p.Path)
	switch now := install.Stat(install.RootedPath{Path: next}); {
	case now.State == selector.StateMissing:
		return files, "", nil
	case settled.State == selector.StateUnready && settled.SameFile(now):
		return files, "staged, and not ready: " + settled.Detail, nil
	case settled.State != selector.StateReady || !settled.SameFile(now):
		return files, "", nil // it is still being written
	}
	staged, err := p.releaseOf(next)
	if err != nil {
		return files, "staged, and not taken: " + err.Error(), nil //nolint:nilerr // the reason is shown, and the next look tries again
	}
	files.Staged = staged
	return files, "", nil
}

// unprivileged is the user of a check where no server of another user than root names the install.
const unprivileged = 65534

// preflight runs a staged release in a cage, once. It reports whether that went well.
func (s *staging) preflight(ctx context.Context, p *stagedPath, r stage.Release) bool {
	s.mu.Lock()
	known := p.checked
	s.mu.Unlock()
	if known == nil || known.Release != string(r) {
		request := s.asServer(ctx, p.Path)
		result, err := s.helper.Check(ctx, request)
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			result.Problem = err.Error()
		}
		if now, err := stage.ReleaseOf(request.File); result.Problem != "" && (err != nil || now != r) {
			return false // it was taken away meanwhile: that may be the problem
		}
		known = &api.Preflight{Release: string(r), Problem: result.Problem, Output: result.Output}
		if known.Problem != "" {
			s.counts.PreflightFailed()
		}
	}
	s.change(func() {
		p.checked = known
		if known.Problem != "" && p.Release == r {
			p.Wait("preflight failed: " + known.Problem)
		}
	})
	return known.Problem == ""
}

// forgetFailedCheck lets the file be checked once more. The caller holds the lock.
func (p *stagedPath) forgetFailedCheck() {
	if p.checked != nil && p.checked.Problem != "" {
		p.checked = nil
	}
}

// asServer is the request to check a staged file as the user of a server of the install: never as root.
func (s *staging) asServer(ctx context.Context, path string) launch.Request {
	rule := s.cfg.Rule
	request := launch.Request{File: stage.NextPath(path), Name: path, Subcommand: rule.Subcommand, UID: unprivileged, GID: unprivileged}
	servers, err := s.servers(ctx)
	if err != nil {
		return request
	}
	for _, server := range servers {
		if server.UpgradeBin != path || server.UID == 0 || server.Container != "" {
			continue
		}
		of := s.credentials(selector.User{UID: server.UID})
		at := slices.IndexFunc(of, func(c selector.Credentials) bool { return c.UID == server.UID })
		if at >= 0 {
			request.UID, request.GID, request.Groups = of[at].UID, of[at].GID, of[at].Groups
			return request
		}
	}
	return request
}

// progressOf says how far the rollout of an installed file has come: that of the servers that name its path and, by the file that
// their path leads to, of those in containers that have its folder.
func (s *staging) progressOf(p *stagedPath, status api.Status) (progress stage.Progress, shown api.Staged) {
	now, before := install.Stat(install.RootedPath{Path: p.Path}), install.Stat(install.RootedPath{Path: stage.PreviousPath(p.Path)})
	since := p.Since
	if s.started.After(since) {
		since = s.started
	}
	isNew := time.Since(since) < serversKnown
	progress.IsSettled = true
	isNamed := false
	for _, i := range status.Installs {
		isHere := i.Path == p.Path && i.Container == ""
		// A container that has the file only, and not its folder, keeps the one before for ever.
		isSeenLater := before.Image.Known() && i.Image == before.Image && isNew
		if !isHere && !isSeenLater && (!now.Image.Known() || i.Image != now.Image) {
			continue
		}
		at := slices.IndexFunc(status.Rollouts, func(r rollout.Report) bool { return r.Number == i.Rollout && i.Rollout != 0 })
		if i.Servers == 0 && at < 0 {
			continue // no server has named it; the rollout stays where all have died of it
		}
		isNamed = true
		if at < 0 || i.Image != now.Image {
			progress.IsSettled = false // the new file is not known yet
			continue
		}
		r := &status.Rollouts[at]
		progress.IsSettled = progress.IsSettled && r.IsSettled()
		progress.Upgraded += r.Servers[rollout.Upgraded]
		if why := r.FailedHere(); why != "" {
			progress.Failed = why
		}
		shown.Deaths, shown.Behind = r.Deaths, r.Behind()
	}
	if !isNamed {
		progress.IsSettled = !isNew
	}
	return progress, shown
}
