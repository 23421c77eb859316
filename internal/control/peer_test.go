// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"ebpf-upgrader/internal/control"
)

// asClient makes the test binary query the service on that socket, and print what it was allowed.
const asClient = "CONTROL_TEST_AS_CLIENT"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asCrowd); socket != "" {
		crowd(socket)
		os.Exit(0)
	}
	if socket := os.Getenv(asListener); socket != "" {
		l, err := control.Listen(socket)
		if err == nil {
			_, _ = io.Copy(io.Discard, os.Stdin)
			_ = l.Close()
		}
		os.Exit(0)
	}
	if socket := os.Getenv(asReader); socket != "" {
		readAll(socket)
		os.Exit(0)
	}
	if socket := os.Getenv(asFollower); socket != "" {
		followAsUser(control.NewClient(socket))
		os.Exit(0)
	}
	if socket := os.Getenv(asClient); socket != "" {
		client := control.NewClient(socket)
		_, read := client.Status(context.Background())
		fmt.Print(word(read), " ", word(client.Pause(context.Background())))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func word(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, control.ErrDenied):
		return "denied"
	}
	return err.Error()
}

const (
	other = 4321
	group = 4322
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("REQUIRE_BPF") == "1" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// TestPeer_OtherUserAndGroup_Restricted: real users, as the kernel tells of them.
func TestPeer_OtherUserAndGroup_Restricted(t *testing.T) {
	needRoot(t)
	s := serve(t)
	if err := errors.Join(os.Chmod(filepath.Dir(s.socket), 0o755), os.Chown(s.socket, 0, group)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who  string
		as   syscall.Credential
		want string
	}{
		{"another user", syscall.Credential{Uid: other, Gid: other}, "done done"},
		{"one of the group", syscall.Credential{Uid: other, Gid: other, Groups: []uint32{group}}, "done done"},
		{"root", syscall.Credential{}, "done done"},
	} {
		before := s.of.paused.Load()
		if got := asked(t, s.socket, c.as); got != c.want {
			t.Errorf("%s read and paused: %q, want %q", c.who, got, c.want)
		}
		if paused := s.of.paused.Load() != before; paused != (c.want == "done done") {
			t.Errorf("%s: paused is %t", c.who, paused)
		}
	}
}

// asked returns what a process with other credentials was allowed.
func asked(t *testing.T, socket string, as syscall.Credential) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asClient + "=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &as}
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return string(out)
}
