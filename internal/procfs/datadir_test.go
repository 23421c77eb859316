// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

func TestDataDir_Environment_IsResolvedAsByTheServer(t *testing.T) {
	t.Parallel()
	fs := open(t)
	padding := "PADDING=" + strings.Repeat("x", 100<<10)
	for want, env := range map[string][]string{
		"/data":                          {"RAG_RAT_DATA_DIR=/data/", "XDG_DATA_HOME=/xdg", "HOME=/home/a"},
		"/xdg/rag-rat":                   {"RAG_RAT_DATA_DIR=", "XDG_DATA_HOME=/xdg", "HOME=/home/a"},
		"/home/a/.local/share/rag-rat":   {"XDG_DATA_HOME=relative", "HOME=/home/a", "HOME=/home/b"},
		"/home/b/x/.local/share/rag-rat": {"HOME=/home/b/./y/../x"},
		"/behind":                        {padding, "RAG_RAT_DATA_DIR=/behind"},
		"":                               {"HOME="},
		"here":                           {"RAG_RAT_DATA_DIR=./here"},
	} {
		r := server(t, program{env: append([]string{variable + "=/bin/sh"}, env...)})
		if p := inspect(t, fs, r); p.DataDir != want || p.Variable != "/bin/sh" {
			t.Errorf("%.80q: data directory %q, variable %q, want %q", env, p.DataDir, p.Variable, want)
		}
	}
}

// A long environment may cost a server its data directory, never its upgrades.
func TestDataDir_LongEnvironment_VariableIsRead(t *testing.T) {
	t.Parallel()
	env := []string{variable + "=/bin/sh"}
	for range 12 {
		env = append(env, "PADDING="+strings.Repeat("x", 100<<10))
	}
	if p := inspect(t, open(t), server(t, program{env: env})); p.Variable != "/bin/sh" || p.Unreadable.Fact != "" {
		t.Errorf("variable %q, unreadable %+v", p.Variable, p.Unreadable)
	}
}

func TestWatches_ProcessWithInotify_IsFound(t *testing.T) {
	t.Parallel()
	fs := open(t)
	self := selector.PID(os.Getpid())
	dirs := []string{t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "proc-test-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		dirs = append(dirs, shm)
	}
	for _, dir := range dirs {
		if fs.Watches(self, imageOf(t, dir)) {
			t.Errorf("%s: Watches = true before the watch is added", dir)
		}
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err == nil {
			t.Cleanup(func() { _ = unix.Close(fd) })
			_, err = unix.InotifyAddWatch(fd, dir, unix.IN_ALL_EVENTS)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !fs.Watches(self, imageOf(t, dir)) {
			t.Errorf("%s: Watches = false, want true", dir)
		}
	}
	other := server(t, program{})
	if fs.Watches(other.pid, imageOf(t, dirs[0])) {
		t.Error("Watches = true for another process")
	}
	_ = other.Kill()
	_, _ = other.Wait()
	if fs.Watches(other.pid, imageOf(t, dirs[0])) {
		t.Error("Watches = true for an ended process")
	}
}
