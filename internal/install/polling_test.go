// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// limited is set in a process of inUserNamespace.
const limited = "INSTALL_TEST_LIMITED"

// inUserNamespace runs a test in a process with a user namespace, which has limits of its own.
func inUserNamespace(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(limited) == "1" {
		test(t)
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

func TestHub_NoWatches_Polls(t *testing.T) { inUserNamespace(t, watchWithoutWatches) }

// The hostile user has folders for more watches than the kernel allows.
func TestHub_ManyFolders_LeaveWatchesToOthers(t *testing.T) {
	inUserNamespace(t, func(t *testing.T) {
		const limit = 2000
		hostile, other := selector.User{UID: 1001}, selector.User{UID: 1002}
		must(t, os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("2000"), 0o644))
		h := newHub(shortSettle, intervals{resync: never, retry: 10 * shortSettle})
		defer h.Close()
		top := t.TempDir()
		watch := func(owner selector.User, path string) *watched {
			w := &watched{reports: make(chan selector.Install, 1)}
			w.Watcher = h.Watch(RootedPath{Path: path, Owner: owner}, w.put)
			return w
		}
		var all []*watched
		for i := range 60 {
			path := put(t, filepath.Join(deep(t, filepath.Join(top, strconv.Itoa(i)), 40), "prog"), static().bytes())
			all = append(all, watch(hostile, path))
		}
		for _, w := range all {
			awaitState(t, w, selector.StateReady, "")
		}
		_, path := installed(t)
		w := watch(other, path)
		awaitReady(t, w, imageOf(t, path))
		if s := h.Stats(); s.Watches > limit/4 || s.Polled < 40 || w.polled.Load() {
			t.Errorf("%+v, the other user's is polled: %t", s, w.polled.Load())
		}
		awaitReady(t, all[59], replace(t, all[59].path.Path, static().bytes())) // found by a check
		program, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		must(t, err)
		for i := range limit / 2 {
			dir := mkdir(t, top, "program", strconv.Itoa(i))
			if _, err := unix.InotifyAddWatch(program, dir, unix.IN_CREATE); err != nil {
				t.Fatalf("another program gets %d watches: %v", i, err)
			}
		}
		for _, gone := range all {
			gone.Close()
		}
		eventually(t, "the watches of the hostile user are removed", func() bool {
			h.notify.mu.Lock()
			defer h.notify.mu.Unlock()
			return h.notify.perUser[hostile] == 0 && len(h.notify.watches) == h.notify.perUser[other]
		})
	})
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
