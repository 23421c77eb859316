// SPDX-License-Identifier: MIT

//go:build linux && amd64

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, program []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExits_Started_EndsWithItsStatus(t *testing.T) {
	for _, status := range []int{0, 1, 70} {
		err := exec.Command(written(t, exits(byte(status)))).Run()
		got := 0
		if exit, failed := errors.AsType[*exec.ExitError](err); failed {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != status {
			t.Errorf("exits(%d) ended with %d", status, got)
		}
	}
}

func TestHangs_Started_WaitsForSignals(t *testing.T) {
	cmd := exec.Command(written(t, hangs()))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	syscallOf := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "syscall")
	var text []byte
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		text, _ = os.ReadFile(syscallOf)
		if strings.HasPrefix(string(text), "34 ") { // pause
			return
		}
	}
	t.Errorf("it is not in pause(2) within 10 s: %q", text)
}
