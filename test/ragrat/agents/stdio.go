// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"fmt"
	"os"
	"syscall"
)

// Stdio is what connects an agent with its server.
type Stdio int

const (
	// Pipes is what most programs use.
	Pipes Stdio = iota
	// SocketPairs is what Node uses, and with it the agents that are written for Node.
	SocketPairs
)

// connectTo connects the server's stdin and stdout. The caller closes the files in theirs after the start.
func (s *Session) connectTo(how Stdio) (theirs []*os.File, err error) {
	if how == SocketPairs {
		return s.pair()
	}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.stdin, s.stdout = in, out
	return nil, nil
}

// pair makes a socket pair for each direction, as Node does.
func (s *Session) pair() (theirs []*os.File, err error) {
	var ours []*os.File
	for _, name := range []string{"stdin", "stdout"} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("make a socket pair for %s: %w", name, err)
		}
		// A blocking read would hold a thread, and Close would wait for it.
		if err := syscall.SetNonblock(fds[0], true); err != nil {
			return nil, err
		}
		ours = append(ours, os.NewFile(uintptr(fds[0]), name))
		theirs = append(theirs, os.NewFile(uintptr(fds[1]), name))
	}
	s.stdin, s.stdout = ours[0], ours[1]
	s.cmd.Stdin, s.cmd.Stdout = theirs[0], theirs[1]
	return theirs, nil
}
