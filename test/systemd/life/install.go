// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// users makes the two users of the sessions, each with a home that is closed to others.
func (l *life) users() error {
	for name, uid := range map[string]string{"ana": ana, "bob": bob} {
		_, err := run("useradd", "--create-home", "--uid", uid, name)
		if err = errors.Join(err, os.Chmod("/home/"+name, 0o700)); err != nil {
			return err
		}
	}
	return nil
}

// install runs the lines of the README as they stand.
func (l *life) install() error { return errors.Join(lines("install"), isState("enabled", "active")) }

// first starts the session that sees all of the life, upgrades it, and runs the lines of the README beside it.
func (l *life) first() error {
	s := &session{unit: "home-1", binary: "/home/ana/.cargo/bin/rag-rat", properties: []string{"User=ana"}}
	if err := l.sessions.add(s); err != nil {
		return err
	}
	return errors.Join(l.rollout(), lines("run"))
}

// lines runs a block of commands of the README as it stands, each of which must succeed.
func lines(file string) error {
	cmd := exec.Command("bash", "-ex", filepath.Join(folder, file))
	cmd.Dir = filepath.Join(folder, "packages")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s", out)
	return err
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

// uninstall runs the lines of the README as they stand.
func (l *life) uninstall() error {
	return errors.Join(lines("uninstall"), nothingLeft(), l.sessions.unharmed())
}

// nothingLeft looks for files and units of the package.
func nothingLeft() error {
	left, err := run("find", "/", "-xdev", "(", "-path", folder, "-o", "-path", "/proc", ")", "-prune",
		"-o", "-name", "*ebpf-upgrader*", "-print")
	runs, _ := run("find", "/run", "-name", "*ebpf-upgrader*")
	failed, _ := run("systemctl", "list-units", "--failed", "--no-legend", "ebpf-upgrader*")
	if all := strings.TrimSpace(left + " " + runs + " " + failed); err == nil && all != "" {
		err = fmt.Errorf("left over: %s", all)
	}
	return err
}

// packageFile returns the path of the older or the newer package.
func packageFile(which, kind string) string {
	found, _ := filepath.Glob(filepath.Join(folder, which, "*."+kind))
	return strings.Join(found, " ")
}

// remove checks that settings and history stay when the package goes.
func (l *life) remove() error {
	_, err := run("apt-get", "remove", "--yes", "ebpf-upgrader")
	return errors.Join(err, isKept(), l.sessions.unharmed())
}

func isKept() (err error) {
	for _, path := range []string{"/etc/default/ebpf-upgrader", "/var/lib/ebpf-upgrader"} {
		_, kept := os.Stat(path)
		err = errors.Join(err, kept)
	}
	if active, _ := run("systemctl", "is-active", unit); active == "active" {
		err = errors.Join(err, errors.New("the service is still active"))
	}
	return err
}

func (l *life) purge() error {
	_, err := run("apt-get", "purge", "--yes", "ebpf-upgrader")
	return errors.Join(err, nothingLeft(), l.sessions.unharmed())
}
