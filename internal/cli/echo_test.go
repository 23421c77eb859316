// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// asEcho makes the test binary a service that only answers: the delay of its answers is that of the machine.
const asEcho = "EBPF_UPGRADER_TEST_AS_ECHO"

func init() {
	if address := os.Getenv(asEcho); address != "" {
		_ = serveEcho(address)
		os.Exit(1)
	}
}

// serveEcho answers as the service does: a goroutine for each connection asks one for all.
func serveEcho(address string) error {
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	questions := make(chan chan byte)
	go func() {
		for answer := range questions {
			answer <- '\n'
		}
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				answer := make(chan byte)
				questions <- answer
				_, _ = conn.Write([]byte{<-answer})
			}
		}()
	}
}

// startEcho starts that service in the control groups of the unit, and returns a function that queries it.
func (u *unit) startEcho(t *testing.T) (query func(context.Context)) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "echo")
	cmd := exec.Command(thisBinary(t))
	cmd.Env = append(os.Environ(), asEcho+"="+address)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, group := range u.groups {
		group.add(t, cmd.Process.Pid)
	}
	query = func(ctx context.Context) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write([]byte{'\n'})
		_, _ = conn.Read(make([]byte, 1))
	}
	eventually(t, "the echo answers", func() bool { _, err := os.Stat(address); return err == nil })
	return query
}
