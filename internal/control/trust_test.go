// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
)

// asListener makes the test binary listen on that socket until its stdin ends.
const asListener = "CONTROL_TEST_AS_LISTENER"

// TestClient_SocketOfAnother_NotTrusted: any user can make a socket below /tmp, where other users look for theirs.
func TestClient_SocketOfAnother_NotTrusted(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "control-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asListener + "=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
	in, err := cmd.StdinPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), cmd.Wait() })
	c := control.NewClient(socket)
	deadline := time.Now().Add(20 * time.Second)
	for err = c.Reach(within(t)); errors.Is(err, control.ErrNoService) && time.Now().Before(deadline); err = c.Reach(within(t)) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.OnlyTrusted = true
	if err := c.Reach(within(t)); !errors.Is(err, control.ErrNotTrusted) {
		t.Errorf("Reach = %v, want ErrNotTrusted", err)
	}
	if err := c.Pause(within(t)); !errors.Is(err, control.ErrNotTrusted) {
		t.Errorf("Pause = %v, want ErrNotTrusted", err)
	}
}
