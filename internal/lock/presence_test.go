// SPDX-License-Identifier: MIT

//go:build linux

package lock_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/lock"
)

func requirePresence(t *testing.T, dir string, pid int) lock.Presence {
	t.Helper()
	p, ok := lock.FindPresence(dir)
	if !ok || p.PID != pid {
		t.Fatalf("FindPresence = %+v, %t, want process %d", p, ok, pid)
	}
	return p
}

func requireNoPresence(t *testing.T, dir, when string) {
	t.Helper()
	if p, ok := lock.FindPresence(dir); ok {
		t.Errorf("%s FindPresence = %+v, want none", when, p)
	}
}

// runDir is a directory that every user may enter.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "presence-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func TestPresence_ServiceKilled_IsGone(t *testing.T) {
	dir := filepath.Join(runDir(t), "run")
	requireNoPresence(t, dir, "without a directory")
	c := holder(t, dir, wholeHost)
	p := requirePresence(t, dir, c.Process.Pid)
	if !p.Serves([]string{"x", "rag-rat"}) || p.Serves([]string{"rag"}) {
		t.Errorf("it serves the wrong names: %q", p.Names)
	}
	if info, err := os.Stat(filepath.Join(dir, "served")); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("the socket is %v, %v, want that every user may connect", info, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	requireNoPresence(t, dir, "after the process was killed")

	l, err := lock.AcquireHost(dir, "")
	must(t, err)
	must(t, l.Publish(nil))
	if p := requirePresence(t, dir, os.Getpid()); p.Serves([]string{"rag-rat"}) {
		t.Errorf("one that serves no names serves %q", p.Names)
	}
	if !l.Publishes(dir) || l.Publishes(filepath.Dir(dir)) {
		t.Error("the lock does not know its own presence")
	}
	must(t, l.Release())
	requireNoPresence(t, dir, "after the release")
	empty(t, dir)
}

// TestPresence_Withdrawn_IsGone: a service that leaves servers out from now on is not found, and is again when it does not.
func TestPresence_Withdrawn_IsGone(t *testing.T) {
	dir := filepath.Join(runDir(t), "run")
	l, err := lock.AcquireHost(dir, "")
	must(t, err)
	for range 2 {
		must(t, l.Publish(nil))
		must(t, l.Publish(nil))
		requirePresence(t, dir, os.Getpid())
		must(t, l.Withdraw())
		must(t, l.Withdraw())
		requireNoPresence(t, dir, "after it was withdrawn")
	}
	must(t, l.Release())
	empty(t, dir)
}

// asUser makes this test binary run as another user.
func asUser(c *exec.Cmd, uid uint32) *exec.Cmd {
	c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	return c
}

// found is what a process of another user finds in dir.
func found(t *testing.T, dir string, uid uint32) string {
	t.Helper()
	out, err := asUser(play(t, "find", dir, ""), uid).CombinedOutput()
	if err != nil {
		t.Fatalf("find: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// listener starts a process of a user that listens in dir as a service would, and does what role says with connections.
func listener(t *testing.T, role, dir string, uid uint32) *exec.Cmd {
	t.Helper()
	must(t, os.Chown(dir, int(uid), int(uid)))
	c := asUser(play(t, role, dir, ""), uid)
	_, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "listens\n" {
		t.Fatalf("the listener said %q, %v", line, err)
	}
	return c
}

const (
	oneUser, otherUser = 4321, 4322
	foundNone          = "none"
)

// find prints what it finds in dir.
func find(dir string) {
	p, ok := lock.FindPresence(dir)
	if !ok {
		fmt.Println(foundNone)
		return
	}
	fmt.Println(foundText(p.PID, p.Serves([]string{"rag-rat"})))
}

func foundText(pid int, serves bool) string {
	return fmt.Sprintf("process %d, serves rag-rat: %t", pid, serves)
}

// listen makes the socket of a service in dir.
func listen(role, dir string) error {
	l, err := net.Listen("unix", filepath.Join(dir, "served"))
	if err == nil {
		err = os.Chmod(filepath.Join(dir, "served"), 0o666)
	}
	if err != nil {
		return err
	}
	if role == "full" {
		err = fillQueue(l)
	} else {
		go serveRole(role, l)
	}
	if err != nil {
		return err
	}
	fmt.Println("listens")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// fillQueue leaves no room for a connection to be accepted.
func fillQueue(l net.Listener) error {
	raw, err := l.(*net.UnixListener).SyscallConn()
	if err != nil {
		return err
	}
	var shortened error
	err = raw.Control(func(fd uintptr) { shortened = unix.Listen(int(fd), 0) })
	for err = errors.Join(err, shortened); err == nil; {
		_, err = net.Dial("unix", l.Addr().String())
	}
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	return nil
}

func serveRole(role string, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		switch role {
		case "listen":
			_, _ = conn.Write([]byte(`["rag-rat"]`))
			_ = conn.Close()
		case "flood":
			go func() {
				for block := make([]byte, 1<<16); err == nil; {
					_, err = conn.Write(block)
				}
			}()
		}
	}
}

// TestPresence_OtherUsers_AreNotBelieved: root's is found by every user, and that of a user by root and others is not.
func TestPresence_OtherUsers_AreNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := runDir(t)
	c := holder(t, dir, wholeHost)
	if got, want := found(t, dir, oneUser), foundText(c.Process.Pid, true); got != want {
		t.Errorf("another user finds %q of root's service, want %q", got, want)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	if got := found(t, dir, oneUser); got != foundNone {
		t.Errorf("another user finds %q of a killed service", got)
	}

	theirs := runDir(t)
	c = listener(t, "listen", theirs, oneUser)
	requireNoPresence(t, theirs, "of another user")
	if got := found(t, theirs, otherUser); got != foundNone {
		t.Errorf("a third user finds %q", got)
	}
	if got, want := found(t, theirs, oneUser), foundText(c.Process.Pid, true); got != want {
		t.Errorf("the same user finds %q, want %q", got, want)
	}
}

// TestPresence_SilentListener_DelaysForDeadline only: it answers nothing, does not accept, or sends without an end.
func TestPresence_SilentListener_DelaysForDeadline(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, role := range []string{"mute", "full", "flood"} {
		for _, uid := range []uint32{0, oneUser} {
			dir := runDir(t)
			c := listener(t, role, dir, uid)
			start := time.Now()
			p, ok := lock.FindPresence(dir)
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s of uid %d took %s", role, uid, took)
			}
			if want := uid == 0; ok != want || ok && (!p.Serves([]string{"any"}) || p.PID != c.Process.Pid && p.PID != 0) {
				t.Errorf("%s of uid %d: FindPresence = %+v, %t, want %t, and that it may serve any name", role, uid, p, ok, want)
			}
		}
	}
}

// TestPresence_NoSocket_IsNone: no other kind of file counts, and none holds the caller up.
func TestPresence_NoSocket_IsNone(t *testing.T) {
	for what, plant := range map[string]func(path string) error{
		"a file":      func(path string) error { return os.WriteFile(path, []byte(`["rag-rat"]`), 0o666) },
		"a FIFO":      func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a directory": func(path string) error { return os.Mkdir(path, 0o777) },
		"a link":      func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := runDir(t)
		must(t, plant(filepath.Join(dir, "served")))
		requireNoPresence(t, dir, "of "+what)
	}
}

// TestPresence_ManyClients_AllFindIt although others connect without a pause and do not read.
func TestPresence_ManyClients_AllFindIt(t *testing.T) {
	dir := runDir(t)
	c := holder(t, dir, wholeHost)
	for range 300 {
		conn, err := net.Dial("unix", filepath.Join(dir, "served"))
		must(t, err)
		defer func() { _ = conn.Close() }()
	}
	requirePresence(t, dir, c.Process.Pid)
}
