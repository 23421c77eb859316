// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestServer_ExecWaitsForThread_IsNotSignalledAgain: the exec of a server waits for a thread that is in an
// uninterruptible read. A second signal would stay pending, and kill the server when the exec has reset its handlers.
func TestServer_ExecWaitsForThread_IsNotSignalledAgain(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		release, err := testfleet.MountMute(dir)
		must(t, err)
		release = sync.OnceValue(release)
		t.Cleanup(func() { must(t, release()) })
		s := newScene(t)
		server := s.start(func(o *testfleet.Options) { o.Behaviour.Stuck = filepath.Join(dir, testfleet.Mute) })
		t.Cleanup(func() { must(t, release()) }) // before the server is ended, which waits for its thread
		eventually(t, "a thread of the server reads", func() bool { return inCall(t, server.PID(), unix.SYS_READ, dir) })
		const retry = time.Second
		s.serve(source, "--confirm-timeout", "500ms", "--retry-after", retry.String())
		s.replace()
		eventually(t, "the server is inside execve", func() bool { return inCall(t, server.PID(), unix.SYS_EXECVE, "") })
		began := time.Now()
		eventually(t, "the service had time to signal again twice", func() bool {
			if hasPending(t, server.PID()) {
				t.Fatal("the server was signalled again inside its exec")
			}
			return time.Since(began) > 4*retry
		})
		_, stdout, _ := command(t, "explain", "--install-path", s.Path(), server.PID().String())
		if !strings.Contains(stdout, selector.NoHandler.String()) || !strings.Contains(stdout, "is inside an exec") {
			t.Errorf("explain does not say that the server execs:\n%s", stdout)
		}
		must(t, release())
		s.upgraded(server)
	})
}

// hasPending reports whether SIGUSR1 waits for a thread of the process to take it.
func hasPending(t *testing.T, pid selector.PID) bool {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", pid.String(), "status"))
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "ShdPnd:")
	set, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	pending, err := strconv.ParseUint(set, 16, 64)
	must(t, err)
	return pending&(1<<(unix.SIGUSR1-1)) != 0
}

// inCall reports whether a thread of a process waits in a system call. Where dir is given, the call's first argument must
// be a descriptor of a file below it.
func inCall(t *testing.T, pid selector.PID, number int, dir string) bool {
	t.Helper()
	proc := filepath.Join("/proc", pid.String())
	calls, err := filepath.Glob(filepath.Join(proc, "task/*/syscall"))
	must(t, err)
	for _, call := range calls {
		text, _ := os.ReadFile(call) // the thread may have ended
		fields := strings.Fields(string(text))
		if len(fields) < 2 || fields[0] != strconv.Itoa(number) {
			continue
		}
		fd, err := strconv.ParseUint(fields[1], 0, 64)
		if dir == "" || err == nil && leadsBelow(filepath.Join(proc, "fd", strconv.FormatUint(fd, 10)), dir) {
			return true
		}
	}
	return false
}

func leadsBelow(link, dir string) bool {
	to, err := os.Readlink(link)
	return err == nil && strings.HasPrefix(to, dir+"/")
}
