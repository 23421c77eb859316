// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"strings"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// modeFlags are what makes a service one of the mode.
func modeFlags(program string, mode outcome.Mode) ([]string, error) {
	help, err := exec.Command(program, "run", "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its flags: %w: make build", program, err)
	}
	knows := strings.Contains(string(help), "--gate ")
	switch {
	case mode == outcome.Gate && !knows:
		return nil, fmt.Errorf("%w: %s run has no --gate", agents.ErrNoGate, program)
	case mode == outcome.Gate:
		return []string{"--gate", "on"}, nil
	}
	if knows {
		return []string{"--gate", "off"}, nil
	}
	return nil, nil
}
