// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
)

// plain is a user without rights over others.
const plain = 4321

// ownFolders are directories of a user: one to run in, and the environment that names others.
func ownFolders(t *testing.T, uid int) (runtime string, env []string) {
	t.Helper()
	var dirs [3]string
	for i := range dirs {
		dirs[i] = newScene(t).Dir()
		must(t, os.Chown(dirs[i], uid, uid))
		must(t, os.Chmod(dirs[i], 0o700))
	}
	return dirs[0], []string{"XDG_RUNTIME_DIR=" + dirs[0], "XDG_STATE_HOME=" + dirs[1], "HOME=" + dirs[2], "PATH=" + os.Getenv("PATH")}
}

// programAs is this program as a process of a user.
func programAs(t *testing.T, uid uint32, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(newProgram(t), args...)
	cmd.Env = append(env, asProgram+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// background runs a service as a process of its own until the test ends.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	messages := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = messages, messages
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", cmd.Args, messages)
		}
	})
}

// turnedDown says that a command did nothing, because the process with that number serves the host.
func turnedDown(t *testing.T, cmd *exec.Cmd, pid int) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	late := time.AfterFunc(patience/2, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait()
	last := stderr.String()[strings.LastIndexByte(strings.TrimSpace(stderr.String()), '\n')+1:]
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(last, fmt.Sprintf("process %d serves the whole host", pid)) {
		t.Errorf("%v ended with %d, %q, want it turned down", cmd.Args[1:], cmd.ProcessState.ExitCode(), &stderr)
	}
}

// hostService is a service of root in the default run directory.
func hostService(t *testing.T) *wholeHost {
	t.Helper()
	h := newWholeHost(t)
	h.socket = filepath.Join("/run", ownFolder, "control.sock")
	return h
}

// TestUserService_BesideRoots_Rejected, which it cannot lock out and cannot ask.
func TestUserService_BesideRoots_Rejected(t *testing.T) {
	const name = "TestUserService_BesideRoots_Rejected"
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		t.Parallel()
		needRoot(t)
		inNamespaces(t, name, "true", 0)
		return
	}
	h := hostService(t)
	s := h.home(plain)
	servers := h.start(s, plain, 2)
	runtime, env := ownFolders(t, plain)
	own := []string{"--name", h.name, "--source", "proc", "--settle", "20ms", "--run-dir"}
	background(t, programAs(t, plain, env, append([]string{"run", "--scan-every", "200ms", "--hold", "200ms"}, append(own, runtime)...)...))
	his := (&service{socket: filepath.Join(runtime, "control.sock")}).client(t)

	h.serve("proc")
	must(t, h.client(t).Pause(within(t)))
	s.replace()
	eventually(t, "the user's service was about to signal a server, and did not", func() bool {
		refused := false
		must(t, his.Events(within(t), control.EventQuery{}, func(e control.Event) error {
			refused = refused || e.Kind == control.EventRefused
			return nil
		}))
		return refused
	})
	allUnharmed(t, servers)
	standsBy := func() *control.Served {
		status, err := his.Status(within(t))
		must(t, err)
		return status.StandsBy
	}
	if by := standsBy(); by == nil || by.PID != selector.PID(os.Getpid()) || by.UID != 0 {
		t.Errorf("the user's service stands by for %+v, want process %d of root", by, os.Getpid())
	}
	elsewhere, env := ownFolders(t, plain)
	own = append(own, elsewhere)
	turnedDown(t, programAs(t, plain, env, append([]string{"run"}, own...)...), os.Getpid())
	trigger := programAs(t, plain, env, "trigger", "--install-path", s.Path(), "--name", h.name, "--run-dir", elsewhere)
	if out, _ := trigger.CombinedOutput(); trigger.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "paused") {
		t.Errorf("a trigger of the user ended with %d, want that root's service is paused:\n%s", trigger.ProcessState.ExitCode(), out)
	}
	allUnharmed(t, servers)
	must(t, h.client(t).Resume(within(t)))
	s.allUpgraded(servers)
	askedOnce(t, servers)

	h.stop()
	s.replace()
	s.allUpgraded(servers) // by the user's own
	if by := standsBy(); by != nil {
		t.Errorf("the user's service still stands by for %+v", by)
	}
}

// TestService_SomeUsers_OthersMayServe: it does not serve them.
func TestService_SomeUsers_OthersMayServe(t *testing.T) {
	const name = "TestService_SomeUsers_OthersMayServe"
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		t.Parallel()
		needRoot(t)
		inNamespaces(t, name, "true", 0)
		return
	}
	h := hostService(t)
	s := h.home(plain)
	servers := h.start(s, plain, 1)
	h.serve("proc", "--user", "6001")
	_ = h.client(t)
	s.replace()
	runtime, env := ownFolders(t, plain)
	trigger := programAs(t, plain, env, "trigger", "--install-path", s.Path(), "--name", h.name, "--source", "proc", "--settle", "1ms", "--run-dir", runtime)
	if out, err := trigger.CombinedOutput(); err != nil {
		t.Errorf("trigger: %v\n%s", err, out)
	}
	s.allUpgraded(servers)
	askedOnce(t, servers)
}

// TestContainerService_HostProcesses_Rejected: its /run is another one than the host's.
func TestContainerService_HostProcesses_Rejected(t *testing.T) {
	const name = "TestContainerService_HostProcesses_Rejected"
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		t.Parallel()
		needRoot(t)
		inPIDNamespace(t, name) // in which this is the first process, as the host's is on a host
		return
	}
	h := hostService(t)
	s := newScene(t)
	servers := h.start(s, 0, 2)
	h.serve("proc", "--canary", "0")
	must(t, h.client(t).Pause(within(t)))
	s.replace()
	for _, args := range [][]string{{"run"}, {"trigger", "--install-path", s.Path(), "--settle", "1ms"}} {
		script := append([]string{"-c", `mount -t tmpfs tmpfs /run && exec "$0" "$@"`, thisBinary(t)}, args...)
		cmd := exec.Command("sh", append(script, "--name", h.name, "--source", "proc")...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		turnedDown(t, cmd, os.Getpid())
	}
	allUnharmed(t, servers)
}

// TestUserLock_OtherEnvironment_IsSeen: a service of a user's session and a trigger of the same user from elsewhere.
func TestUserLock_OtherEnvironment_IsSeen(t *testing.T) {
	const name = "TestUserLock_OtherEnvironment_IsSeen"
	const lone = 4324 // a trigger of another test holds the lock of plain below /tmp
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		t.Parallel()
		needRoot(t)
		inNamespaces(t, name, "true", 0)
		return
	}
	for _, dir := range []string{"/run/user/" + strconv.Itoa(lone) + "/" + ownFolder, "/tmp/" + ownFolder + "-" + strconv.Itoa(lone)} {
		if strings.HasPrefix(dir, "/run") {
			must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
			must(t, os.Chown(filepath.Dir(dir), lone, lone))
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		h, s := newWholeHost(t), newScene(t)
		_, env := ownFolders(t, lone)
		running := programAs(t, lone, env, "run", "--name", h.name, "--source", "proc", "--settle", "20ms")
		background(t, running)
		_ = (&service{socket: filepath.Join(dir, "control.sock")}).client(t)
		_, env = ownFolders(t, lone)
		for _, more := range [][]string{nil, {"TMPDIR=" + t.TempDir()}, env} {
			trigger := programAs(t, lone, append(more, "PATH="+os.Getenv("PATH")), "trigger", "--no-service", "--install-path", s.Path(), "--name", h.name)
			out, err := trigger.CombinedOutput()
			if want := fmt.Sprintf("process %d serves these servers", running.Process.Pid); err == nil || !strings.Contains(string(out), want) {
				t.Errorf("with %q in the environment a trigger ended with %v, want %s:\n%s", more, err, want, out)
			}
		}
		must(t, os.RemoveAll("/run/user"))
	}
}
