// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"

	"ebpf-upgrader/test/testfleet"
)

// serverName is a name of its own, so that other servers on this machine are neither counted nor signalled.
const serverName = "rag-rat-bench"

// scene has idle processes and servers.
type scene struct {
	dir, install string
	crowds       []*testfleet.Crowd
}

// newScene starts n idle processes, and k servers that run an older file than the installed one.
func newScene(n, k int) (s *scene, err error) {
	s = &scene{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, err
	}
	s.install = filepath.Join(s.dir, serverName)
	idle, err := testfleet.StartCrowd(n, testfleet.CrowdOptions{Dir: s.dir, Every: n + 1})
	if err != nil {
		return s, err
	}
	s.crowds = append(s.crowds, idle)
	servers, err := testfleet.StartCrowd(k, testfleet.CrowdOptions{Dir: s.dir, UpgradeBin: s.install, Upgrades: true, Argv0: serverName})
	if err != nil {
		return s, err
	}
	s.crowds = append(s.crowds, servers)
	rename, err := s.written()
	if err != nil {
		return s, err
	}
	return s, rename()
}

// written writes the same program again, next to the installed file. The rename installs it.
func (s *scene) written() (rename func() error, err error) {
	content, err := os.ReadFile(s.install)
	if err != nil {
		return nil, err
	}
	if err := testfleet.WriteProgram(s.install+".new", content); err != nil {
		return nil, err
	}
	return func() error { return os.Rename(s.install+".new", s.install) }, nil
}

func (s *scene) close() {
	for _, c := range slices.Backward(s.crowds) { // the first crowd raised the kernel's limit, and restores it
		_ = c.Stop()
	}
	_ = os.RemoveAll(s.dir)
}
