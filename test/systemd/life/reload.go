// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// reload gives the running service a filter, then a file with an error, and then neither. Its process stays.
func (l *life) reload() error {
	const file = "/etc/ebpf-upgrader/config.d/life.toml"
	pid := mainPID()
	leftOut := func(want int) error {
		return await("the filter holds", func() error {
			s, err := readStatus()
			if got := s.Verdicts["not-selected"]; err == nil && got != want {
				err = fmt.Errorf("%d servers are left out, want %d", got, want)
			}
			return err
		})
	}
	ofAna := l.sessions.servers(ana)
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("user = [\"bob\"]\n"), 0o644))
	_, filtered := run("systemctl", "reload", unit)
	if err = errors.Join(err, filtered, leftOut(ofAna), os.WriteFile(file, []byte("user = 7\n"), 0o644)); err != nil {
		return err
	}
	if _, err := run("systemctl", "reload", unit); err == nil {
		return errors.New("a file with an error is accepted")
	}
	err = errors.Join(leftOut(ofAna), os.Remove(file))
	_, restored := run("systemctl", "reload", unit)
	if now := mainPID(); now != pid {
		err = errors.Join(err, fmt.Errorf("the service was process %s, and is %s", pid, now))
	}
	return errors.Join(err, restored, leftOut(0), l.sessions.unharmed())
}
