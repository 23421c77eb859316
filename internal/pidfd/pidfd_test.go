// SPDX-License-Identifier: MIT

//go:build linux

package pidfd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/pidfd"
	"ebpf-upgrader/selector"
)

// sleeper is a process without handlers.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func open(t *testing.T, pid int) *pidfd.Handle {
	t.Helper()
	h, err := pidfd.Open(selector.PID(pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestSignal_OpenedProcess_Arrives(t *testing.T) {
	t.Parallel()
	cmd := sleeper(t)
	if err := open(t, cmd.Process.Pid).Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGUSR1 {
		t.Errorf("the process ended with %v, want death by SIGUSR1", cmd.ProcessState)
	}
}

func TestOpen_ReapedProcess_IsGone(t *testing.T) {
	t.Parallel()
	cmd := sleeper(t)
	h := open(t, cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := h.Signal(syscall.SIGUSR1); !errors.Is(err, pidfd.ErrGone) {
		t.Errorf("signal to a reaped process: %v, want ErrGone", err)
	}
	if _, err := pidfd.Open(1 << 30); !errors.Is(err, pidfd.ErrGone) {
		t.Errorf("open a free PID: %v, want ErrGone", err)
	}
}

// The test runs in a PID namespace of its own, in which it can set the next PID.
func TestSignal_PIDUsedAgain_IsGone(t *testing.T) {
	if os.Getenv("PIDFD_REUSE") == "" {
		runInPIDNamespace(t, "TestSignal_PIDUsedAgain_IsGone")
		return
	}
	first := sleeper(t)
	pid := first.Process.Pid
	h := open(t, pid)
	_ = first.Process.Kill()
	_ = first.Wait()
	second := startAs(t, pid)
	if err := h.Signal(syscall.SIGKILL); !errors.Is(err, pidfd.ErrGone) {
		t.Errorf("signal through the first owner's pidfd: %v, want ErrGone", err)
	}
	if err := second.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the second owner of %d is not alive: %v", pid, err)
	}
}

// startAs starts processes until one has the PID. It sets ns_last_pid for that.
func startAs(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for range 1000 {
		last := strconv.Itoa(pid - 1)
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(last), 0); err != nil {
			t.Fatal(err)
		}
		if cmd := sleeper(t); cmd.Process.Pid == pid {
			return cmd
		}
	}
	t.Fatalf("PID %d was not used again in 1000 starts", pid)
	return nil
}

func runInPIDNamespace(t *testing.T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatal("needs root for a PID namespace")
		}
		t.Skip("needs root for a PID namespace")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PIDFD_REUSE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("in its own PID namespace: %v\n%s", err, out)
	}
}

func TestClose_Twice_LeavesNoDescriptor(t *testing.T) {
	h := open(t, os.Getpid())
	link := func() []string {
		all, _ := filepath.Glob("/proc/self/fd/*")
		var found []string
		for _, fd := range all {
			if to, _ := os.Readlink(fd); strings.Contains(to, "pidfd") {
				found = append(found, fd)
			}
		}
		return found
	}
	before := len(link())
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
	if after := len(link()); after != before-1 {
		t.Errorf("%d pidfds before Close, %d after", before, after)
	}
	if err := h.Signal(0); !errors.Is(err, unix.EBADF) {
		t.Errorf("signal through a closed handle: %v, want EBADF", err)
	}
}
