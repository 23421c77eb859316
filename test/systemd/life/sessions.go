// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"ebpf-upgrader/test/testfleet"
)

// The users are in a range that no other test uses: their servers are visible on the host of a container.
const (
	ana = "61001"
	bob = "61002"
)

// start starts a second session in a home that is closed to others, one with a private /tmp, one in a chroot.
func (l *life) start() error {
	const jail = "/srv/jail"
	err := errors.Join(
		os.MkdirAll(jail+"/opt/bin", 0o755), os.Chown(jail+"/opt/bin", 61002, 61002), copyFile(jail+"/life", folder+"/life"),
	)
	home := "/home/ana/.cargo/bin/rag-rat"
	return errors.Join(
		err,
		l.add(&session{unit: "home-2", binary: home, properties: []string{"User=ana"}}),
		l.add(&session{unit: "private-tmp", binary: "/tmp/rag-rat", properties: []string{"User=bob", "PrivateTmp=yes"}}),
		l.add(&session{unit: "chroot", binary: "/opt/bin/rag-rat", properties: []string{"User=" + bob, "RootDirectory=" + jail}, program: "/life"}),
	)
}

// stubborn starts a session that ignores signals.
func (l *life) stubborn() (*session, error) {
	s := &session{
		unit: "stubborn", binary: "/home/ana/stubborn/rag-rat", properties: []string{"User=ana"},
		behaviour: testfleet.Behaviour{Ignore: true},
	}
	return s, l.add(s)
}

func (l *life) add(s *session) error {
	if s.program == "" {
		s.program = folder + "/life"
	}
	l.sessions[s.unit] = s
	return s.start()
}

// land installs a new binary in each place once, and expects one signal more of each server.
func (l *life) land() error {
	done := make(map[string]bool)
	var errs []error
	for _, s := range l.sessions {
		s.expected++
		if place := s.binary + s.properties[0]; !done[place] {
			done[place] = true
			errs = append(errs, s.land())
		}
	}
	return errors.Join(errs...)
}

// servers counts the sessions of a user by their processes.
func (l *life) servers(uid string) (n int) {
	for _, s := range l.sessions {
		if info, err := os.Stat(s.proc("")); err == nil && strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)) == uid {
			n++
		}
	}
	return n
}

// all calls a check of every session.
func (l *life) all(check func(*session) error) error {
	var errs []error
	for _, s := range l.sessions {
		errs = append(errs, check(s))
	}
	return errors.Join(errs...)
}

// unharmed checks that no session was lost or signalled once more.
func (l *life) unharmed() error {
	return l.all(func(s *session) error { return errors.Join(s.lives(), s.signalledAsExpected()) })
}
