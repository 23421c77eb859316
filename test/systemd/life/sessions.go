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

// sessions are those that must live, by unit.
type sessions map[string]*session

// start starts a second session in a home that is closed to others, one with a private /tmp, one in a chroot.
func (l *life) start() error {
	const jail = "/srv/jail"
	err := errors.Join(
		os.MkdirAll(jail+"/opt/bin", 0o755), os.Chown(jail+"/opt/bin", 61002, 61002), copyFile(jail+"/life", folder+"/life"),
	)
	home := "/home/ana/.cargo/bin/rag-rat"
	return errors.Join(
		err,
		l.sessions.add(&session{unit: "home-2", binary: home, properties: []string{"User=ana"}}),
		l.sessions.add(&session{unit: "private-tmp", binary: "/tmp/rag-rat", properties: []string{"User=bob", "PrivateTmp=yes"}}),
		l.sessions.add(&session{unit: "chroot", binary: "/opt/bin/rag-rat", properties: []string{"User=" + bob, "RootDirectory=" + jail}, program: "/life"}),
	)
}

// stubborn starts a session that ignores signals.
func (l *life) stubborn() (*session, error) {
	s := &session{
		unit: "stubborn", binary: "/home/ana/stubborn/rag-rat", properties: []string{"User=ana"},
		behaviour: testfleet.Behaviour{Ignore: true},
	}
	return s, l.sessions.add(s)
}

func (all sessions) add(s *session) error {
	if s.program == "" {
		s.program = folder + "/life"
	}
	all[s.unit] = s
	return s.start()
}

// land installs a new binary in each place once, and expects one signal more of each server.
func (all sessions) land() error {
	done := make(map[string]bool)
	var errs []error
	for _, s := range all {
		s.expected++
		if place := s.binary + s.properties[0]; !done[place] {
			done[place] = true
			errs = append(errs, s.land())
		}
	}
	return errors.Join(errs...)
}

// servers counts the sessions of a user by their processes.
func (all sessions) servers(uid string) (n int) {
	for _, s := range all {
		if info, err := os.Stat(s.proc("")); err == nil && strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)) == uid {
			n++
		}
	}
	return n
}

// each calls a check of every session.
func (all sessions) each(check func(*session) error) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, check(s))
	}
	return errors.Join(errs...)
}

// unharmed checks that no session was lost or signalled once more.
func (all sessions) unharmed() error {
	return all.each(func(s *session) error { return errors.Join(s.lives(), s.signalledAsExpected()) })
}
