// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// unpack installs a file as a reproducible archive is unpacked: complete when it gets its name, with the modification
// time that all files of the archive have, and with the inode number want if that is free. No process is forked while
// a file is open, or its exec would fail.
func (s *scene) unpack(want selector.Image, fill func(*os.File) error) selector.Image {
	s.t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	const tries = 1000
	for range tries {
		f, err := os.CreateTemp(s.Dir(), "next-")
		must(s.t, err)
		image := imageAt(s.t, f.Name())
		if want.Known() && image != want {
			must(s.t, f.Close()) // it keeps the number that is not wanted
			continue
		}
		then := time.Unix(946684800, 0)
		must(s.t, errors.Join(fill(f), f.Chmod(0o755), f.Close()))
		must(s.t, os.Chtimes(f.Name(), then, then))
		must(s.t, os.Rename(f.Name(), s.Path()))
		return image
	}
	s.t.Skip("this file system does not use inode numbers again")
	return selector.Image{}
}

func fillWithServer(t *testing.T) func(*os.File) error {
	t.Helper()
	content, err := os.ReadFile(serverBinary())
	must(t, err)
	return func(f *os.File) error {
		_, err := f.Write(content)
		return err
	}
}

// TestHalt_GoodFileWithSameInode_IsRolledOut: an archive that is unpacked over a bad binary gives the good one the inode
// number and the modification time of the bad one.
func TestHalt_GoodFileWithSameInode_IsRolledOut(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(4, nil)
		c := s.serve(source).client(t)
		bad := s.unpack(selector.Image{}, func(f *os.File) error {
			_, err := f.WriteString("#!/bin/sh\nexit 1\n")
			return err
		})
		s.phase(c, rollout.PhaseHalted)
		good := fillWithServer(t)
		must(t, s.Remove())
		s.unpack(bad, good)
		for _, server := range fleet {
			if !exists(server.PID()) {
				continue // the canary
			}
			s.upgraded(server)
		}
	})
}
