// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// limited is set in the child process of TestHub_NoWatches_Polls.
const limited = "INSTALL_TEST_LIMITED"

// The test runs itself in a user namespace, which has limits of its own.
func TestHub_NoWatches_Polls(t *testing.T) {
	if os.Getenv(limited) == "1" {
		watchWithoutWatches(t)
		return
	}
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), limited+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatalf("needs user namespaces: %v", err)
		}
		t.Skipf("needs user namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func watchWithoutWatches(t *testing.T) {
	root, path := installed(t)
	must(t, os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("0"), 0o644))
	w := watchFile(t, path, intervals{resync: never, retry: shortSettle})
	awaitReady(t, w, imageOf(t, path))
	if s := w.hub.Stats(); s.Refused == 0 || s.Watches > 0 || s.Polled != 1 {
		t.Errorf("without watches: %+v", s)
	}
	awaitReady(t, w, replace(t, path, static().bytes()))
	must(t, os.RemoveAll(root+"/opt"))
	awaitState(t, w, "missing", "")
	must(t, os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0o644))
	w = watchFile(t, path, intervals{resync: never, retry: shortSettle})
	awaitState(t, w, "missing", "")
	if s := w.hub.Stats(); w.hub.notify.file != nil || s.Polled != 1 {
		t.Errorf("without an instance: %+v", s)
	}
	mkdir(t, root, "opt", "bin")
	awaitReady(t, w, replace(t, path, static().bytes()))
}
