// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const unit = "ebpf-upgrader.service"

// lines runs a block of commands of the README as it stands, each of which must succeed.
func lines(file string) error {
	cmd := exec.Command("bash", "-ex", filepath.Join(folder, file))
	cmd.Dir = filepath.Join(folder, "packages")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s", out)
	return err
}

func (l *life) install() error {
	for name, uid := range map[string]string{"ana": ana, "bob": bob} {
		if _, err := run("useradd", "--create-home", "--key-mode=0700", "--uid", uid, name); err != nil {
			if _, err := run("useradd", "--create-home", "--uid", uid, name); err != nil {
				return err
			}
		}
		if err := os.Chmod("/home/"+name, 0o700); err != nil {
			return err
		}
	}
	return errors.Join(lines("install"), isState("enabled", "active"))
}

// isState compares what systemd says of the service.
func isState(enabled, active string) error {
	e, _ := run("systemctl", "is-enabled", unit)
	a, _ := run("systemctl", "is-active", unit)
	if e != enabled || a != active {
		return fmt.Errorf("the service is %s and %s, want %s and %s", e, a, enabled, active)
	}
	return nil
}

func (l *life) unit() error {
	_, unsound := run("systemd-analyze", "verify", "--man=no", unit)
	return errors.Join(exposed(), unsound, l.works())
}

// exposed reads the score of the unit, since systemd 247 has no --threshold.
func exposed() error {
	const most = 2.9
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
		case l.emulated && !s.Gate.Active:
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

// group compares how many servers the status of a user has: a member of the group sees those of all users.
func (l *life) group() error {
	if _, err := run("usermod", "--append", "--groups", "ebpf-upgrader", "ana"); err != nil {
		return err
	}
	return errors.Join(sees("ana", len(l.sessions)), sees("bob", l.servers(bob)))
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
	if err := l.land(); err != nil {
		return err
	}
	return l.upgraded()
}

func (l *life) upgraded() error {
	return await("all servers upgrade", func() error { return l.all((*session).upgraded) })
}

func (l *life) restart() error {
	_, err := run("systemctl", "restart", unit)
	return errors.Join(err, l.works(), l.unharmed())
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
	return errors.Join(err, l.works(), l.unharmed())
}

func (l *life) kill() error {
	old := mainPID()
	_, err := run("bash", "-c", "kill -9 "+old)
	return errors.Join(err, l.replaced(old))
}

// watchdog stops the main process, with a shorter time than that of the unit.
func (l *life) watchdog() error {
	within := 2
	if l.emulated { // else the watchdog also ends a service that is only slow
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

// packageFile returns the path of the older or the newer package.
func packageFile(which string) string {
	found, _ := filepath.Glob(filepath.Join(folder, which, "*.deb"))
	return strings.Join(found, " ")
}

func (l *life) upgrade() error {
	before, err := readStatus()
	if err != nil {
		return err
	}
	if err := l.land(); err != nil {
		return err
	}
	_, installed := run("dpkg", "-i", packageFile("newer"))
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
	_, installed := run("dpkg", "-i", packageFile("packages"))
	err = errors.Join(err, installed, isState("disabled", "inactive"))
	_, enabled := run("systemctl", "enable", "--now", unit)
	return errors.Join(err, enabled, isState("enabled", "active"), l.works(), l.unharmed())
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
// without a second signal.
func (l *life) trigger() error {
	s, err := l.stubborn()
	if err != nil {
		return err
	}
	_, err = run("systemctl", "stop", unit)
	if err = errors.Join(err, l.land()); err != nil {
		return err
	}
	cmd := exec.Command("ebpf-upgrader", "trigger")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := await("the trigger signals the server", s.signalledAsExpected); err != nil {
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
	err = errors.Join(err, beside, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	if err := errors.Join(err, await("the service is active", func() error { return isState("enabled", "active") })); err != nil {
		return err
	}
	err = errors.Join(l.works(), l.remain(l.unharmed))
	_, stopped := run("systemctl", "stop", s.unit)
	delete(l.sessions, s.unit)
	return errors.Join(err, stopped, l.upgraded())
}
