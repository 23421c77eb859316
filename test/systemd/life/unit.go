// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

func (l *life) unit() error {
	_, unsound := run("systemd-analyze", "verify", "--man=no", unit)
	return errors.Join(exposed(2.9), unsound, l.works(), l.describe())
}

// describe keeps what the service uses here.
func (l *life) describe() error {
	s, err := readStatus()
	kernel, unread := os.ReadFile("/proc/sys/kernel/osrelease")
	systemd, failed := run("systemctl", "--version")
	version := strings.Fields(systemd + " - -")[1]
	gate := "no"
	if s.Gate.Active {
		gate = "yes (" + s.Gate.Way + ")"
	}
	l.facts = fmt.Sprintf("%s | %s | %s | %s", strings.TrimSpace(string(kernel)), version, s.Source, gate)
	return errors.Join(err, unread, failed)
}

// exposed reads the score of the unit, since systemd 247 has no --threshold.
func exposed(most float64) error {
	text, err := run("systemd-analyze", "security", "--no-pager", unit)
	if err != nil {
		return err
	}
	_, score, _ := strings.Cut(text, "exposure level for "+unit+": ")
	score, _, _ = strings.Cut(score, " ")
	exposure, err := strconv.ParseFloat(score, 64)
	if err == nil && exposure > most {
		err = fmt.Errorf("the exposure level is %s, more than %.1f\n%s", score, most, text)
	}
	return err
}

// works waits until the service answers, and checks how it finds servers.
func (l *life) works() error {
	return await("the service answers, through eBPF", func() error {
		s, err := readStatus()
		switch {
		case err != nil:
			return err
		case s.Source != "bpf":
			return fmt.Errorf("the source is %q", s.Source)
		case l.isEmulated && !s.Gate.Active:
			return fmt.Errorf("the gate is not active: %s", s.Gate.Reason)
		}
		return nil
	})
}

// status has what this test reads of the service's status.
type status struct {
	Version string
	Source  string
	Gate    struct {
		Active bool
		Way    string
		Reason string
	}
	Verdicts map[string]int
}

// servers counts those that the reader may know of.
func (s status) servers() (n int) {
	for _, count := range s.Verdicts {
		n += count
	}
	return n
}

// readStatus asks the service, as another user with a command that runs others.
func readStatus(as ...string) (status, error) {
	var s status
	command := append(as, "ebpf-upgrader", "status", "-o", "json")
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		return s, fmt.Errorf("ebpf-upgrader status: %w\n%s", err, out)
	}
	return s, json.Unmarshal(out, &s)
}
