// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

func TestPID_NoProcess_IsGone(t *testing.T) {
	t.Parallel()
	fs := open(t)
	reaped := server(t, program{})
	_ = reaped.in.Close()
	_, _ = reaped.Wait()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", server(t, program{}).pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("no second thread in %v: %v", threads, err)
	}
	thread, _ := strconv.Atoi(threads[1].Name())
	for what, pid := range map[string]selector.PID{
		"a reaped process": reaped.pid, "a second thread": selector.PID(thread),
		"zero": 0, "a negative PID": -1, "a PID too large": 1<<31 - 1,
	} {
		if p, err := fs.Inspect(pid, query()); !errors.Is(err, procfs.ErrGone) {
			t.Errorf("%s: Inspect(%d) = %+v, %v, want ErrGone", what, pid, p, err)
		}
	}
}

// A new process gets a PID while the directory of its last owner is open.
func TestPID_UsedAgain_IsGone(t *testing.T) {
	needRoot(t)
	fs := open(t)
	eventually(t, "a PID is used again", func() bool {
		first := server(t, program{})
		var before selector.Process
		eventually(t, "a process is two clock ticks old", func() bool { // start times are in ticks
			before = inspect(t, fs, first)
			return before.Age > 20*time.Millisecond
		})
		dir, err := unix.Open(fmt.Sprintf("/proc/%d", first.pid), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(dir) }()
		_ = first.in.Close()
		_, _ = first.Wait()
		last := strconv.Itoa(int(first.pid) - 1)
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(last), 0); err != nil {
			t.Fatal(err)
		}
		second := server(t, program{})
		if second.pid != first.pid {
			return false // another process got the PID
		}
		if _, err := unix.Openat(dir, "stat", unix.O_RDONLY, 0); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("the directory of the first process shows the second: %v", err)
		}
		if after := inspect(t, fs, second); after.Identity == before.Identity {
			t.Errorf("both are %+v", after.Identity)
		}
		return true
	})
}

// It inspects processes at every moment of their lives.
func TestShortLived_AnyMoment_IsReadOrGone(t *testing.T) {
	fs := open(t)
	pipe(t) // with the first, or the first timer, Go's runtime opens two descriptors that it keeps
	before := descriptors(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				liveShortly(t, fs)
			}
		})
	}
	wg.Wait()
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestNewFS_NotProc_Fails(t *testing.T) {
	t.Parallel()
	file := executable(t)
	for root, want := range map[string]string{
		"/no/such/place": "no such file or directory",
		file:             "not a directory",
		t.TempDir():      "mount a proc file system there",
	} {
		fs, err := procfs.NewFS(root)
		if err == nil {
			_ = fs.Close()
			t.Errorf("NewFS(%q) succeeds", root)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("NewFS(%q) = %v, want one line with %q", root, err, want)
		}
	}
}
