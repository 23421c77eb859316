// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var waitsUntil = regexp.MustCompile(`(?m)^ +waits until [0-9:]{8} for a service of the host`)

// TestPlainUser_NoOwnService_FindsRoots: without a flag, and shows the user's own servers only.
func TestPlainUser_NoOwnService_FindsRoots(t *testing.T) {
	const name = "TestPlainUser_NoOwnService_FindsRoots"
	if os.Getenv("IN_PID_NAMESPACE") == "" {
		t.Parallel()
		needRoot(t)
		inNamespaces(t, name, "mount -t proc proc /proc", unix.CLONE_NEWPID)
		return
	}
	_, env := ownFolders(t, plain)
	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, messages bytes.Buffer
		cmd := programAs(t, plain, env, args...)
		cmd.Stdout, cmd.Stderr = &out, &messages
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%v: exit code %d, want %d\n%s%s", args, code, want, &out, &messages)
		}
		return out.String(), messages.String()
	}
	const own, host = "/tmp/ebpf-upgrader-4321/control.sock", "/run/ebpf-upgrader/control.sock"
	for _, args := range [][]string{{"status"}, {"events"}, {"pause"}, {"resume"}} {
		if _, said := ask(exitNoSource, args...); !strings.Contains(said, "no service listens on "+own+" or "+host+": start one with run") {
			t.Errorf("%v says %q, want both sockets named", args, said)
		}
	}
	h := hostService(t)
	his, other := h.home(plain), h.home(6001)
	servers := h.start(his, plain, 2)
	others := h.start(other, 6001, 1)
	h.serve("proc")
	h.knows(2)
	his.replace()
	other.replace()
	eventually(t, "the user reads until when the service waits", func() bool { // it cannot see whether the host has one
		status, _ := ask(exitOK, "status")
		return waitsUntil.MatchString(status)
	})
	his.allUpgraded(servers)
	other.allUpgraded(others)
	eventually(t, "the user reads that both servers are up to date", func() bool {
		status, _ := ask(exitOK, "status")
		return strings.Contains(status, " 2 up-to-date")
	})
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"events"}, {"events", "-o", "json"}} {
		out, _ := ask(exitOK, args...)
		if !strings.Contains(out, his.Path()) && args[0] == "status" || !strings.Contains(out, fmt.Sprint(servers[0].PID())) && args[0] == "events" {
			t.Errorf("%v does not show the user's own:\n%s", args, out)
		}
		if strings.Contains(out, other.Dir()) || strings.Contains(out, "6001") || strings.Contains(out, fmt.Sprintf("server %d:", others[0].PID())) {
			t.Errorf("%v shows what belongs to another user:\n%s", args, out)
		}
	}
	// Root's service makes the round, and the command follows the user's own servers to the end.
	his.replace()
	out, said := ask(exitOK, "trigger", "--install-path", his.Path(), "--name", h.name)
	if !strings.Contains(said, fmt.Sprintf("handed to the service (process %d)", os.Getpid())) || !strings.Contains(out, "2 upgraded") {
		t.Errorf("trigger says %q, and prints\n%s", said, out)
	}
	if strings.Contains(out+said, other.Dir()) {
		t.Errorf("trigger shows what belongs to another user:\n%s%s", out, said)
	}
	his.allUpgraded(servers)
}
