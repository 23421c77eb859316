// SPDX-License-Identifier: MIT

//go:build linux

package pidfd_test

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestWait_ProcessEnds_ReturnsStatus(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]syscall.WaitStatus{
		"read x; exit 0":            0,
		"read x; exit 70":           70 << 8,
		"read x; kill -USR1 $$":     syscall.WaitStatus(syscall.SIGUSR1),
		"sleep 0 & read x; exit 70": 70 << 8,
	} {
		for _, reaped := range []bool{false, true} {
			cmd := exec.Command("sh", "-c", script)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			h := open(t, cmd.Process.Pid)
			_ = stdin.Close()
			if reaped {
				_ = cmd.Wait()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			exit, err := h.Wait(ctx)
			// If the process was reaped before the call, the status is known since Linux 6.15 only.
			if err != nil || !exit.Known && !reaped || exit.Known && exit.Status != uint32(want) {
				t.Errorf("%s (reaped: %t): Wait = %#x, %t, %v; want %#x", script, reaped, exit.Status, exit.Known, err, want)
			}
			if !reaped {
				_ = cmd.Wait()
			}
		}
	}
}

func TestWait_ContextEnds_Returns(t *testing.T) {
	t.Parallel()
	h := open(t, sleeper(t).Process.Pid)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := h.Wait(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want context.Canceled", err)
	}
}
