// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Host is a temporary folder with users, their worktrees and the files of at most one service.
type Host struct {
	Dir   string
	Users []*User
	// Service is nil without a service.
	Service *Service
}

// NewHost makes the folder; prefix begins its name. The caller must close the host, also after an error.
func NewHost(prefix string) (h Host, err error) {
	if h.Dir, err = os.MkdirTemp("", prefix); err != nil {
		return h, err
	}
	return h, os.Chmod(h.Dir, 0o755)
}

// SharedFile is a path at which several users can have one installed file. It survives the loss of a home.
func (h *Host) SharedFile() string { return filepath.Join(h.Dir, "bin", "rag-rat") }

// AddUser adds the user with a number. Their servers run installed; if that is empty, a file in their home. The binary is
// installed there unless the file exists.
func (h *Host) AddUser(number int, installed string, binary []byte) (*User, error) {
	u, err := newUser(h.Dir, number, installed)
	if err != nil {
		return nil, err
	}
	h.Users = append(h.Users, u)
	if _, err := os.Stat(u.Installed); err == nil {
		return u, nil
	}
	dir := filepath.Dir(u.Installed)
	return u, errors.Join(os.MkdirAll(dir, 0o755), u.Own(dir), Put(u.Installed, binary, u.UID))
}

// Installed lists the paths of the users' installed files, each once, in the order of the users.
func (h *Host) Installed() []string {
	var paths []string
	for _, u := range h.Users {
		if !slices.Contains(paths, u.Installed) {
			paths = append(paths, u.Installed)
		}
	}
	return paths
}

// Serve starts the program under test for the users, and waits until it is ready.
func (h *Host) Serve(ctx context.Context, program string, patience time.Duration, flags []string) error {
	s, err := NewService(program, filepath.Join(h.Dir, "service"), patience, flags, h.Users)
	if err != nil {
		return err
	}
	h.Service = s
	return s.Start(ctx)
}

// RollingOut reports whether the service is in the middle of a rollout. It is false without a service.
func (h *Host) RollingOut(ctx context.Context) bool {
	if h.Service == nil {
		return false
	}
	phase := h.Service.Phase(ctx, h.Installed())
	return strings.Contains(phase, "canary") || strings.Contains(phase, "rolling")
}

// Close ends the service and removes the folder.
func (h *Host) Close() error {
	var err error
	if h.Service != nil {
		err = h.Service.End(syscall.SIGTERM)
	}
	if h.Dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(h.Dir))
}

// StopAll stops sessions at the same time, and waits until their servers have ended.
func StopAll(sessions []*Session) {
	var stopped sync.WaitGroup
	for _, s := range sessions {
		stopped.Go(s.Stop)
	}
	stopped.Wait()
}
