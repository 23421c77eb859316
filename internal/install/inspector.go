// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// errUnknownUser is the error for a path of a user without a known process.
var errUnknownUser = errors.New("no process of its user is known")

// inspector inspects files below one root, with the permissions of one user.
type inspector struct {
	// root is a descriptor of the root directory.
	root int
	// One of users must be able to reach a file, if checks is true. Otherwise no permission is checked.
	users  []selector.Credentials
	checks bool
	// owner is the user that the work counts for.
	owner selector.User
	// checker examines the files. nil: no file is opened.
	checker *Checker
}

// inspector returns an inspector for the path, with its root open.
func (w *RootedPath) inspector(root int, c *Checker) inspector {
	s := inspector{root: root, owner: w.Owner, checker: c}
	if w.Credentials != nil {
		s.users = w.Credentials()
		isRoot := func(c selector.Credentials) bool { return c.UID == 0 }
		s.checks = !slices.ContainsFunc(s.users, isRoot)
	}
	return s
}

// open opens a path with O_PATH, which has no effect on the file.
func (s *inspector) open(path string) (int, error) {
	switch {
	case !s.checks:
		return openBelow(s.root, path, 0, 0)
	case len(s.users) == 0:
		return -1, errUnknownUser
	}
	return reach.Follow(reach.From{Root: s.root}, path, s.users)
}

// openPath is open with the version of the file, and with the fields that decide whether a user may exec it.
func (s *inspector) openPath(path string) (int, version, selector.File, error) {
	fd, err := s.open(path)
	if err != nil {
		return -1, version{}, selector.File{}, err
	}
	found, err := statx(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, version{}, selector.File{}, err
	}
	return fd, versionFrom(&found), reach.FileOf(&found), nil
}

// versionOf returns the version of the file at a path. It is zero if there is no file, or it cannot be inspected.
func (s *inspector) versionOf(path string) version {
	fd, v, _, err := s.openPath(path)
	if err != nil {
		return version{}
	}
	_ = unix.Close(fd)
	return v
}

// inspect returns the install at a path, and the version of the inspected file; zero if there is none. It blocks for as long
// as a file system does not answer. Without a checker it opens no file: the content is not checked.
func (s *inspector) inspect(path string) (selector.Install, version) {
	i := selector.Install{Path: path}
	fd, v, file, err := s.openPath(path)
	if err != nil {
		i.State, i.Detail = stateOf(err), sys.ErrorText(err)
		return i, v
	}
	defer func() { _ = unix.Close(fd) }()
	i.State, i.Image, i.Size = selector.StateReady, v.Image, v.Size
	i.Modified, i.Changed, i.Born = v.Modified.time(), v.Changed.time(), v.Born.time()
	if s.checker == nil {
		i.Detail, err = detailNotRead, openable(file.Mode)
	} else {
		err = s.checkReady(fd, v, &i)
	}
	if err != nil {
		i.State, i.Detail = selector.StateUnready, sys.ErrorText(err)
	}
	return i, v
}

// checkReady returns why the file of fd cannot be exec'd. If it can, checkReady sets Interpreters and Programs of i: the paths
// that the kernel opens below the same root, and their files.
func (s *inspector) checkReady(fd int, v version, i *selector.Install) error {
	e := s.examine(fd, cacheKey{version: v})
	i.Script, i.Build = e.Script, e.Build
	var interpreters []string
	var programs []selector.File
	for scripts := 1; e.Problem == "" && len(e.Next) > 0; scripts++ {
		if e.Script && scripts > maxScripts {
			return errors.New("too many nested scripts")
		}
		interpreters = append(interpreters, string(e.Next))
		var program selector.File
		e, program = s.examineAt(string(e.Next), !e.Script)
		programs = append(programs, program)
	}
	switch {
	case e.Problem == "":
		i.Interpreters, i.Programs = interpreters, programs
		return nil
	case len(interpreters) == 0:
		return errors.New(e.Problem)
	}
	return fmt.Errorf("interpreter %q: %s", interpreters[len(interpreters)-1], e.Problem)
}

// examine returns the cached result for a file, or opens the file of fd.
func (s *inspector) examine(fd int, key cacheKey) examination {
	if key.Changed == (moment{}) { // not a regular file: never opened
		return examine(fd, key)
	}
	return s.checker.get(key, s.owner, func() examination { return examine(fd, key) })
}

// examineAt examines the file at a path, and returns the fields that decide whether a user may exec it.
func (s *inspector) examineAt(path string, loader bool) (e examination, f selector.File) {
	fd, v, f, err := s.openPath(path)
	if err != nil {
		e.fail(err)
		return e, f
	}
	defer func() { _ = unix.Close(fd) }()
	if _, f.NoExec, err = reach.Mount(fd); err != nil {
		e.fail(err)
		return e, f
	}
	e = s.examine(fd, cacheKey{v, loader})
	f.Script = e.Script
	return e, f
}

// detailNotRead is the detail of an install that was not opened.
const detailNotRead = "content not read"
