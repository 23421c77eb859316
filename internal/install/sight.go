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

// errUnknownUser keeps files from being looked at for a user of whom no process is known.
var errUnknownUser = errors.New("no process of its user is known")

// sight is what files are looked at with.
type sight struct {
	// root is a descriptor of the root directory.
	root int
	// who are those who must be able to reach a file; all of them is nobody where asks is set, anybody elsewhere.
	who  []selector.Credentials
	asks bool
	// owner is the user on whose behalf files are looked at.
	owner   uint32
	answers *answers
}

// sight is how the way is looked along from its root.
func (w *RootedPath) sight(root int, a *answers) sight {
	s := sight{root: root, owner: w.Owner, answers: a}
	if w.Credentials != nil {
		s.who = w.Credentials()
		isRoot := func(c selector.Credentials) bool { return c.UID == 0 }
		s.asks = !slices.ContainsFunc(s.who, isRoot)
	}
	return s
}

// open opens a path without opening what stands there: O_PATH has no effect on it.
func (s *sight) open(path string) (int, error) {
	switch {
	case !s.asks:
		return openBelow(s.root, path, 0, 0)
	case len(s.who) == 0:
		return -1, errUnknownUser
	}
	return reach.Follow(reach.From{Root: s.root}, path, s.who)
}

// openPath is open with the mark of what stands there, and what decides whether a user may exec it.
func (s *sight) openPath(path string) (int, mark, selector.File, error) {
	fd, err := s.open(path)
	if err != nil {
		return -1, mark{}, selector.File{}, err
	}
	found, err := statOf(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, mark{}, selector.File{}, err
	}
	file := selector.File{Image: imageOfStat(&found), Mode: uint32(found.Mode), UID: found.Uid, GID: found.Gid}
	return fd, markFrom(&found), file, nil
}

// markOf is the zero mark where there is nothing, or nothing that can be looked at.
func (s *sight) markOf(path string) mark {
	fd, m, _, err := s.openPath(path)
	if err != nil {
		return mark{}
	}
	_ = unix.Close(fd)
	return m
}

// look says what stands at a path, and gives the mark of the file that it looked at; the zero mark when there is none.
// It blocks for as long as a file system does.
func (s *sight) look(path string) (selector.Install, mark) {
	i := selector.Install{Path: path}
	fd, m, _, err := s.openPath(path)
	if err != nil {
		i.State, i.Detail = stateOf(err), sys.ErrorText(err)
		return i, m
	}
	defer func() { _ = unix.Close(fd) }()
	identify(&i, m)
	i.State = selector.StateReady
	if err = s.ready(fd, m, &i); err != nil {
		i.State, i.Detail = selector.StateUnready, sys.ErrorText(err)
	}
	return i, m
}

// ready says why the file that fd leads to cannot be exec'd. When it can, i has the paths that the kernel opens
// besides, which lead from the same root, and the files there.
func (s *sight) ready(fd int, m mark, i *selector.Install) error {
	next, isScript, err := s.examine(fd, question{mark: m})
	i.Script = isScript
	var interpreters []string
	var programs []selector.File
	for scripts := 1; err == nil && next != ""; scripts++ {
		if isScript && scripts > deepestScript {
			return errors.New("too many scripts whose interpreter is a script")
		}
		interpreters = append(interpreters, next)
		var program selector.File
		next, isScript, program, err = s.examineAt(next, !isScript)
		programs = append(programs, program)
	}
	switch {
	case err == nil:
		i.Interpreters, i.Programs = interpreters, programs
		return nil
	case len(interpreters) == 0:
		return err
	}
	return fmt.Errorf("interpreter %q: %s", interpreters[len(interpreters)-1], sys.ErrorText(err))
}

// examine answers a question about the file that fd leads to, and opens it only where the answer is not known.
func (s *sight) examine(fd int, q question) (next string, isScript bool, err error) {
	as := examine
	if q.loader {
		as = examineLoader
	}
	if !q.isRegular() { // it is not opened
		return as(fd)
	}
	return s.answers.ask(q, s.owner, func() (string, bool, error) { return as(fd) })
}

// examineAt examines the file that a path leads to, and gives what decides whether a user may exec it.
func (s *sight) examineAt(path string, loader bool) (next string, isScript bool, f selector.File, err error) {
	fd, m, f, err := s.openPath(path)
	if err != nil {
		return "", false, f, err
	}
	defer func() { _ = unix.Close(fd) }()
	var mount unix.Statfs_t
	if err := unix.Fstatfs(fd, &mount); err != nil {
		return "", false, f, err
	}
	f.NoExec = mount.Flags&unix.ST_NOEXEC != 0
	next, isScript, err = s.examine(fd, question{m, loader})
	return next, isScript, f, err
}

// glance is look without an open: what the file has in it is not asked.
func (s *sight) glance(path string) selector.Install {
	i := selector.Install{Path: path}
	fd, m, file, err := s.openPath(path)
	if err == nil {
		_ = unix.Close(fd)
		identify(&i, m)
		err = openable(file.Mode)
	}
	i.State, i.Detail = selector.StateReady, unread
	if err != nil {
		i.State, i.Detail = stateOf(err), sys.ErrorText(err)
	}
	return i
}

// unread is the detail of an install that was not opened.
const unread = "content not read"
