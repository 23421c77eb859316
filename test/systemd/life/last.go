// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
)

// breaking sets each option that the unit warns of, and looks for the harm. A version of systemd that does no harm fails
// the test, because the warning is then false.
func (l *life) breaking() error {
	for _, option := range []string{"RestrictSUIDSGID=yes", "PrivateUsers=yes"} {
		if err := dropIn(option); err != nil {
			return err
		}
		err := await("with "+option+" servers are unreadable", func() error {
			s, err := readStatus()
			if err == nil && s.Verdicts["unreadable"]+s.Verdicts["unready-install"] < len(l.sessions) {
				err = fmt.Errorf("the verdicts are %v", s.Verdicts)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(dropIn(""), l.works(), l.upgraded())
}

func (l *life) remove() error {
	_, err := run("apt-get", "remove", "--yes", "ebpf-upgrader")
	for _, path := range []string{"/etc/default/ebpf-upgrader", "/var/lib/ebpf-upgrader"} {
		_, kept := os.Stat(path)
		err = errors.Join(err, kept)
	}
	if active, _ := run("systemctl", "is-active", unit); active == "active" {
		err = errors.Join(err, errors.New("the service is still active"))
	}
	return errors.Join(err, l.unharmed())
}

func (l *life) purge() error {
	if err := lines("uninstall"); err != nil {
		return err
	}
	left, err := run("find", "/", "-xdev", "(", "-path", folder, "-o", "-path", "/proc", ")", "-prune",
		"-o", "-name", "*ebpf-upgrader*", "-print")
	if err == nil && left != "" {
		err = fmt.Errorf("left over: %s", left)
	}
	runs, _ := run("find", "/run", "-name", "*ebpf-upgrader*")
	failed, _ := run("systemctl", "list-units", "--failed", "--no-legend", "ebpf-upgrader*")
	if runs != "" || failed != "" {
		err = errors.Join(err, fmt.Errorf("left over: %s %s", runs, failed))
	}
	return errors.Join(err, l.unharmed())
}
