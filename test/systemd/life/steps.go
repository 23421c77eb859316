// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const unit = "ebpf-upgrader.service"

// group compares how many servers the status of a user has: a member of the group sees those of all users.
func (l *life) group() error {
	if _, err := run("usermod", "--append", "--groups", "ebpf-upgrader", "ana"); err != nil {
		return err
	}
	return errors.Join(sees("ana", len(l.sessions)), sees("bob", l.sessions.servers(bob)))
}

func sees(user string, want int) error {
	return await(user+" sees the servers", func() error {
		s, err := readStatus("runuser", "-u", user, "--")
		if seen := s.servers(); err == nil && seen != want {
			err = fmt.Errorf("the status has %d, want %d: %v", seen, want, s.Verdicts)
		}
		return err
	})
}

func (l *life) rollout() error {
	if err := l.sessions.land(); err != nil {
		return err
	}
	return l.upgraded()
}

func (l *life) upgraded() error {
	return await("all servers upgrade", func() error { return l.sessions.each((*session).upgraded) })
}

func (l *life) restart() error {
	_, err := run("systemctl", "restart", unit)
	return errors.Join(err, l.works(), l.sessions.unharmed())
}

func mainPID() string {
	pid, _ := run("systemctl", "show", "--property=MainPID", "--value", unit)
	return pid
}

// replaced waits until another process of the service is active.
func (l *life) replaced(old string) error {
	err := await("the service is there again", func() error {
		if pid := mainPID(); pid == old || pid == "0" {
			return fmt.Errorf("the process is %s, was %s", pid, old)
		}
		return isState("enabled", "active")
	})
	return errors.Join(err, l.works(), l.sessions.unharmed())
}

func (l *life) kill() error {
	old := mainPID()
	_, err := run("bash", "-c", "kill -9 "+old)
	return errors.Join(err, l.replaced(old))
}

// watchdog stops the main process, with a shorter time than that of the unit.
func (l *life) watchdog() error {
	within := 2
	if l.isEmulated { // else the watchdog also ends a service that is only slow
		within = 10
	}
	if err := dropIn(fmt.Sprintf("WatchdogSec=%d", within)); err != nil {
		return err
	}
	old := mainPID()
	_, err := run("bash", "-c", "kill -STOP "+old)
	return errors.Join(err, l.replaced(old), dropIn(""))
}

// dropIn restarts the service with options besides those of the unit, or without.
func dropIn(options string) error {
	const dir = "/run/systemd/system/" + unit + ".d"
	err := os.RemoveAll(dir)
	if options != "" {
		err = errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/test.conf", []byte("[Service]\n"+options+"\n"), 0o644))
	}
	_, reload := run("systemctl", "daemon-reload")
	_, restart := run("systemctl", "restart", unit)
	return errors.Join(err, reload, restart)
}

func (l *life) upgrade() error { return l.upgradeBy("dpkg", "-i", packageFile("newer", "deb")) }

// upgradeBy installs the newer package while servers upgrade.
func (l *life) upgradeBy(command ...string) error {
	before, err := readStatus()
	if err = errors.Join(err, l.sessions.land()); err != nil {
		return err
	}
	_, installed := run(command[0], command[1:]...)
	if err := errors.Join(installed, l.upgraded(), l.works(), isState("enabled", "active")); err != nil {
		return err
	}
	after, err := readStatus()
	if err == nil && after.Version == before.Version {
		err = fmt.Errorf("the service has version %s before and after", after.Version)
	}
	return err
}

func (l *life) disabled() error {
	_, err := run("systemctl", "disable", "--now", unit)
	_, installed := run("dpkg", "-i", packageFile("packages", "deb"))
	err = errors.Join(err, installed, isState("disabled", "inactive"))
	_, enabled := run("systemctl", "enable", "--now", unit)
	return errors.Join(err, enabled, isState("enabled", "active"), l.works(), l.sessions.unharmed())
}

// remain checks for as long as the service could take to signal: in a PID namespace of its own it leaves each server ten
// seconds to a service of the host.
func (l *life) remain(check func() error) error {
	const courtesy, reaction = 10 * time.Second, 3 * time.Second
	for deadline := time.Now().Add(courtesy + reaction); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// trigger starts the service while a trigger waits for a server: it must fail, be tried again, and succeed afterwards
// without a second signal to those that have upgraded. The server that ignores signals may get one from the service then,
// because a trigger keeps no record of its signals (docs/LIMITS.md).
func (l *life) trigger() error {
	s, err := l.stubborn()
	if err != nil {
		return err
	}
	_, err = run("systemctl", "stop", unit)
	if err = errors.Join(err, l.sessions.land()); err != nil {
		return err
	}
	cmd, ended, err := begin("ebpf-upgrader", "trigger")
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	err = await("the trigger signals the server", func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("%w: it ended before: %w", errHopeless, err)
		default:
			return s.signalledAsExpected()
		}
	})
	if err != nil {
		return err
	}
	if _, err := run("systemctl", "start", unit); err == nil {
		return errors.New("the service starts beside a trigger")
	}
	var beside error
	err = await("systemd tries again", func() error {
		text, err := run("systemctl", "show", "--property=NRestarts", "--value", unit)
		if isState("enabled", "active") == nil {
			beside = errors.New("the service is active beside a trigger")
			return nil
		}
		if n, _ := strconv.Atoi(text); n < 2 {
			return errors.Join(fmt.Errorf("%d restarts", n), err)
		}
		return nil
	})
	err = errors.Join(err, beside, s.signalledAsExpected(), cmd.Process.Signal(os.Interrupt))
	fmt.Println(<-ended)
	delete(l.sessions, s.unit)
	if err := errors.Join(err, await("the service is active", func() error { return isState("enabled", "active") })); err != nil {
		return err
	}
	err = errors.Join(l.works(), l.upgraded(), l.remain(l.sessions.unharmed))
	_, stopped := run("systemctl", "stop", s.unit)
	return errors.Join(err, stopped)
}

// begin starts a command, and reports its end.
func begin(name string, args ...string) (*exec.Cmd, <-chan error, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	ended := make(chan error, 1)
	err := cmd.Start()
	if err == nil {
		go func() { ended <- errors.Join(errors.New(strings.Join(cmd.Args, " ")), cmd.Wait()) }()
	}
	return cmd, ended, err
}
