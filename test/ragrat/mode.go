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

// modeFlags returns the flags of a service in a mode.
func modeFlags(program string, mode outcome.Mode) ([]string, error) {
	help, err := exec.Command(program, "run", "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("read the flags of %s: %w: make build", program, err)
	}
	hasGate := strings.Contains(string(help), "--gate ")
	switch {
	case mode == outcome.Gate && !hasGate:
		return nil, fmt.Errorf("%w: %s run has no --gate", agents.ErrNoGate, program)
	case mode == outcome.Gate:
		return []string{"--gate", "on"}, nil
	}
	if hasGate {
		return []string{"--gate", "off"}, nil
	}
	return nil, nil
}
