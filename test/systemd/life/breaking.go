// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// harm is what an option does to the service. A version of systemd that does no harm fails the test, because the warning
// of docs/OPERATIONS.md is then false.
type harm struct {
	option, what string
	shows        func() error
}

func (l *life) harms() []harm {
	unreadable := func() error {
		s, err := readStatus()
		if err == nil && s.Verdicts["unreadable"]+s.Verdicts["unready-install"] < len(l.sessions) {
			err = fmt.Errorf("the verdicts are %v", s.Verdicts)
		}
		return err
	}
	return []harm{
		{"RestrictSUIDSGID=yes", "servers are unreadable", unreadable},
		{"PrivateUsers=yes", "servers are unreadable", unreadable},
		{"ProcSubset=pid", "the service does not start", starts("boot_id")},
		{"PrivateTmp=yes\n" + serves + "/tmp/seen", "a file in /tmp is not seen", misses},
		{"ProtectHome=yes\n" + serves + "/home/seen", "a file in /home is not seen", misses},
		{"RestartPreventExitStatus=2", "the service stays dead after the signal of the watchdog", staysDead},
	}
}

// serves restricts the service to one file, which it looks up in its own view of the files.
const serves = "Environment=EBPF_UPGRADER_INSTALL_PATH="

// breaking sets each option that the unit warns of, and looks for the harm.
func (l *life) breaking() error {
	for _, path := range []string{"/tmp/seen", "/home/seen"} {
		if err := copyFile(path, filepath.Join(folder, "life")); err != nil {
			return err
		}
		defer func() { _ = os.Remove(path) }()
		err := errors.Join(dropIn(serves+path), await("the service sees "+path, func() error {
			if misses() == nil {
				return errors.New("nothing is installed")
			}
			_, err := readStatus()
			return err
		}))
		if err != nil {
			return err
		}
	}
	for _, h := range l.harms() {
		_ = dropIn(h.option) // some do not start
		if err := await("with "+strings.ReplaceAll(h.option, "\n", " and ")+" "+h.what, h.shows); err != nil {
			return err
		}
	}
	return errors.Join(dropIn(""), l.works(), l.upgraded())
}

// starts waits for a start that fails with a text in the log.
func starts(text string) func() error {
	return func() error {
		_, err := run("bash", "-c", "! systemctl is-active "+unit+" && journalctl -u "+unit+" --since -1min | grep "+text)
		return err
	}
}

// misses waits for a service that does not see the one file that it serves.
func misses() error {
	text, err := run("ebpf-upgrader", "status")
	if err == nil && !strings.Contains(text, "nothing is installed") {
		err = errors.New(text)
	}
	return err
}

// staysDead sends the signal of the watchdog, and waits until systemd has given up.
func staysDead() error {
	if state, _ := run("systemctl", "is-active", unit); state == "active" {
		if _, err := run("systemctl", "kill", "--signal=ABRT", unit); err != nil {
			return err
		}
	}
	state, _ := run("systemctl", "is-active", unit)
	if state != "failed" {
		return fmt.Errorf("the service is %s", state)
	}
	return nil
}

// secluded applies the drop-in of docs/OPERATIONS.md that takes the network away.
func (l *life) secluded() error {
	return errors.Join(dropIn("PrivateNetwork=yes\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX"), l.works(), exposed(2.2), dropIn(""), l.works())
}

// unlimited checks what LimitMEMLOCK is for: before Linux 5.11 the maps of BPF count against it.
func (l *life) unlimited() error {
	if err := dropIn("LimitMEMLOCK=64K"); err != nil {
		return err
	}
	err := await("with LimitMEMLOCK=64K the service scans", func() error {
		s, err := readStatus()
		if err == nil && s.Source != "proc" {
			err = fmt.Errorf("the source is %q", s.Source)
		}
		return err
	})
	return errors.Join(err, dropIn(""), l.works())
}
