// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// session is a server that systemd runs as a unit of a user.
type session struct {
	unit string
	// binary is the installed file in the server's view of the files.
	binary    string
	behaviour testfleet.Behaviour
	// properties are those of the unit.
	properties []string
	// program is the path of this program in the server's view.
	program string
	pid     int
	// expected is the number of signals that the server should have had.
	expected int
}

// becomeSession makes this process a server of the installed file, which it installs if it is missing. The server reports
// its events in a file beside it.
func becomeSession(binary string, behaviour []string) error {
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(binary), 0o755), copyFile(binary, os.Args[0])); err != nil {
			return err
		}
	}
	// One log a session: two sessions of one file have each their own.
	name := fmt.Sprintf("%s.%s.log", binary, os.Getenv("SESSION"))
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(log.Fd()), 3, 0); err != nil && log.Fd() != 3 {
		return err
	}
	if log.Fd() == 3 {
		_, err = unix.FcntlInt(3, unix.F_SETFD, 0)
	}
	env := append(os.Environ(), "TESTFLEET="+strings.Join(behaviour, " "), "RAG_RAT_UPGRADE_BIN="+binary)
	return errors.Join(err, syscall.Exec(binary, []string{"rag-rat", "mcp"}, env))
}

// start starts the unit, and waits until the server is armed.
func (s *session) start() error {
	s.behaviour.OutliveStdin = true
	behaviour, err := json.Marshal(s.behaviour)
	if err != nil {
		return err
	}
	args := []string{"--quiet", "--unit=" + s.unit, "--setenv=SESSION=" + s.unit}
	for _, p := range s.properties {
		args = append(args, "--property="+p)
	}
	if _, err := run("systemd-run", append(args, s.program, "session", s.binary, string(behaviour))...); err != nil {
		return err
	}
	return await(s.unit+" is armed", func() error {
		if s.pid, err = s.mainPID(); err != nil {
			return err
		}
		return errors.Join(s.current(), s.armed()) // this program, which execs the binary, has handlers as well
	})
}

func (s *session) mainPID() (int, error) {
	text, err := run("systemctl", "show", "--property=MainPID", "--value", s.unit)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%s has no process: %q", s.unit, text)
	}
	return pid, nil
}

// lives checks that the session has the process that it began with.
func (s *session) lives() error {
	pid, err := s.mainPID()
	if err == nil && pid != s.pid {
		err = fmt.Errorf("%s was process %d, and is %d", s.unit, s.pid, pid)
	}
	return err
}

func (s *session) proc(file string) string { return fmt.Sprintf("/proc/%d/%s", s.pid, file) }

// armed reads whether the server catches SIGUSR1.
func (s *session) armed() error {
	status, err := os.ReadFile(s.proc("status"))
	if err != nil {
		return err
	}
	_, mask, _ := strings.Cut(string(status), "SigCgt:")
	bits, err := strconv.ParseUint(strings.Fields(mask + " x")[0], 16, 64)
	if err == nil && bits&(1<<(unix.SIGUSR1-1)) == 0 {
		err = fmt.Errorf("%s has no handler", s.unit)
	}
	return err
}

// outside is the installed file in the view of this process.
func (s *session) outside() string { return s.proc("root") + s.binary }

// land installs a new binary.
func (s *session) land() error {
	content, err := os.ReadFile(filepath.Join(folder, "life"))
	return errors.Join(err, s.place(content))
}

// place installs a file by rename, as cargo does.
func (s *session) place(content []byte) error {
	old, err := os.Stat(s.outside())
	if err != nil {
		return err
	}
	owner := old.Sys().(*syscall.Stat_t)
	next := s.outside() + ".new"
	return errors.Join(
		os.WriteFile(next, content, 0o755), os.Chown(next, int(owner.Uid), int(owner.Gid)), os.Rename(next, s.outside()),
	)
}

// current checks that the server runs the installed file.
func (s *session) current() error {
	runs, err := os.Stat(s.proc("exe"))
	if err != nil {
		return err
	}
	installed, err := os.Stat(s.outside())
	if err == nil && !os.SameFile(runs, installed) {
		err = fmt.Errorf("%s runs another file", s.unit)
	}
	return err
}

// upgraded checks that the server runs the installed file, is armed, and was signalled as often as expected.
func (s *session) upgraded() error {
	return errors.Join(s.current(), s.armed(), s.lives(), s.signalledAsExpected())
}

func (s *session) signalledAsExpected() error {
	signals, err := s.signals()
	if err == nil && signals != s.expected {
		err = fmt.Errorf("%s had %d signals, want %d", s.unit, signals, s.expected)
	}
	return err
}

// signals counts the signals that the server has reported.
func (s *session) signals() (int, error) {
	f, err := os.Open(fmt.Sprintf("%s.%s.log", s.outside(), s.unit))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e testfleet.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Kind == testfleet.Signalled {
			n++
		}
	}
	return n, nil
}

// copyFile makes an executable copy.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
