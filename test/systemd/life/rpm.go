// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// rpm is the life of the package for rpm: its scriptlets differ from those of Debian. Its dependencies are those of
// another distribution, and are left out.
func (l *life) rpm() []step {
	return []step{
		{"two users", l.users},
		{"rpm -i leaves the start to the presets", l.rpmInstall},
		{"the unit is sound, and its source is eBPF", l.unit},
		{"sessions of two users start", l.start},
		{"rpm -U during a rollout", l.rpmUpgrade},
		{"rpm -U of a service that is disabled", l.rpmDisabled},
		{"rpm -e", l.rpmErase},
	}
}

func (l *life) rpmInstall() error {
	_, err := run("rpm", "-i", "--nodeps", packageFile("packages", "rpm"))
	if active, _ := run("systemctl", "is-active", unit); active != "inactive" {
		err = errors.Join(err, fmt.Errorf("the service is %s after the install", active))
	}
	_, preset := run("systemctl", "preset", unit) // Debian's presets enable
	_, started := run("systemctl", "start", unit)
	return errors.Join(err, preset, started, isState("enabled", "active"))
}

func (l *life) rpmUpgrade() error {
	return l.upgradeBy("rpm", "-U", "--nodeps", packageFile("newer", "rpm"))
}

func (l *life) rpmDisabled() error {
	_, err := run("systemctl", "disable", "--now", unit)
	_, installed := run("rpm", "-U", "--nodeps", "--oldpackage", packageFile("packages", "rpm"))
	return errors.Join(err, installed, isState("disabled", "inactive"), l.sessions.unharmed())
}

// rpmErase changes the settings, which stay under another name.
func (l *life) rpmErase() error {
	const settings = "/etc/default/ebpf-upgrader"
	_, err := run("systemctl", "enable", "--now", unit)
	err = errors.Join(err, os.WriteFile(settings, []byte("FLAGS=\n"), 0o644))
	_, erased := run("rpm", "-e", "ebpf-upgrader")
	_, kept := os.Stat(settings + ".rpmsave")
	left, _ := run("find", "/usr", "/etc", "-xdev", "-name", "*ebpf-upgrader*")
	if left != settings+".rpmsave" {
		err = errors.Join(err, fmt.Errorf("left over: %s", strings.ReplaceAll(left, "\n", " ")))
	}
	if active, _ := run("systemctl", "is-active", unit); active != "inactive" {
		err = errors.Join(err, fmt.Errorf("the service is %s", active))
	}
	return errors.Join(err, erased, kept, l.sessions.unharmed())
}
