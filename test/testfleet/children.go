// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// daemonise continues in a forked child with the handler in force, and ends this process.
func (s *serving) daemonise() {
	if s.arm() == nil {
		s.exit(exitBroken, "daemonise: nothing to arm for")
	}
	s.Daemon = true
	if err := s.forkDaemon(); err != nil {
		s.exit(exitBroken, fmt.Sprintf("daemonise: %v", err))
	}
	unix.Exit(0)
}

func (s *serving) forkDaemon() error {
	c, err := newChild(s.target, os.Args, s.next().environ())
	if err != nil {
		return err
	}
	c.watched = 2
	c.needed = s.behaviour.signalsNeeded()
	c.drain = timespec(s.behaviour.Drain)
	for i, e := range [daemonReports]Event{
		saysDaemonised: {Kind: Daemonised, PID: numberPlace},
		saysArmed:      {Kind: Armed},
		saysSignalled:  {Kind: Signalled},
		saysDraining:   {Kind: Draining},
		saysExec:       {Kind: Exec, Path: s.target},
		saysExecFailed: {Kind: ExecFailed, Path: s.target},
	} {
		c.lines[i] = s.line(e)
	}
	first := c.lines[saysDaemonised]
	place := bytes.Index(first, []byte(numberPlace.String()))
	c.number = (*[numberWidth]byte)(first[place:])
	_, err = c.fork(liveAsDaemon)
	return err
}

// adoptChild forks the child, or takes over that of the earlier image, and reaps it when it ends.
func (s *serving) adoptChild() {
	if s.Child == 0 {
		pid, err := s.forkChild()
		if err != nil {
			s.exit(exitBroken, fmt.Sprintf("fork child: %v", err))
		}
		s.Child = pid
		s.report(Event{Kind: Forked, Child: pid})
	}
	go s.reapChild()
}

func (s *serving) forkChild() (selector.PID, error) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		return 0, err
	}
	c, err := newChild(sleep, []string{"sleep", "infinity"}, os.Environ())
	if err != nil {
		return 0, err
	}
	c.watched = 1
	c.timeout = timespec(s.behaviour.ChildExecs)
	return c.fork(liveAsChild)
}

func (s *serving) reapChild() {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(int(s.Child), &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			s.report(Event{Kind: ChildEnded, Child: s.Child, Why: describe(status)})
		}
		return
	}
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

// timespec converts d; nil: zero.
func timespec(d Duration) *unix.Timespec {
	if d == 0 {
		return nil
	}
	ts := unix.NsecToTimespec(time.Duration(d).Nanoseconds())
	return &ts
}
