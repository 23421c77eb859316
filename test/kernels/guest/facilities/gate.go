// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"ebpf-upgrader/tracker"
)

// gate makes one process with the name of a server signal another, and checks that the signal is refused.
func gate(ctx context.Context) (string, error) {
	const name = "facilities-gate"
	t, err := open(ctx, name)
	if errors.Is(err, tracker.ErrUnavailable) {
		return "no: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = t.Close() }()
	g, err := t.EnableGate()
	if errors.Is(err, tracker.ErrGateUnavailable) {
		return "no: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	target, end, err := shell(name, `trap "" USR1; echo up; read -r line`, "mcp")
	if err != nil {
		return "", fmt.Errorf("start a server: %w", err)
	}
	defer func() { _ = errors.Join(end.Close(), target.Wait()) }()
	refused, err := signalledBy(name, target.Process.Pid)
	if err == nil && !refused {
		err = errors.New("the gate is active, but a signal from one server to another passed")
	}
	return "yes (" + g.Hook() + ")", err
}

// signalledBy makes another process with the name of a server send SIGUSR1, and reports whether the call failed.
func signalledBy(name string, target int) (failed bool, err error) {
	sender, in, err := shell(name, `trap "" USR1; echo up; read -r pid; kill -USR1 "$pid"`, "mcp")
	if err != nil {
		return false, fmt.Errorf("start a server: %w", err)
	}
	_, err = fmt.Fprintln(in, target)
	err = errors.Join(err, in.Close())
	var exit *exec.ExitError
	if ended := sender.Wait(); ended != nil && !errors.As(ended, &exit) {
		err = errors.Join(err, ended)
	}
	return exit != nil, err
}
