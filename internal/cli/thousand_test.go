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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// manyInstalls gives each of n servers an install of its own, below one folder. The servers are small
// programs that do nothing, and the installs copies of them.
func manyInstalls(t testing.TB, name string, n int) (paths []string) {
	t.Helper()
	top := t.TempDir()
	for i := range n {
		dir := filepath.Join(top, strconv.Itoa(i))
		path := filepath.Join(dir, "rag-rat")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		crowd, err := testfleet.StartCrowd(1, testfleet.CrowdOptions{Dir: dir, UpgradeBin: path, Every: 1, Argv0: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = crowd.Stop() })
		if err := os.Link(filepath.Join(dir, "idle"), path); err != nil { // which they run
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// countInstalls counts those that are ready and watched.
func countInstalls(s api.Status) (ready int) {
	for _, i := range s.Installs {
		if i.State == selector.StateReady {
			ready++
		}
	}
	return ready
}

// thousand is the size of a crowd. A test with a crowd does not run beside others: every service on the host inspects its
// processes too.
const thousand = 1000

// TestThousandInstalls_Each_Upgraded replaces ten of them.
func TestThousandInstalls_Each_Upgraded(t *testing.T) {
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		h := newWholeHost(t)
		paths := manyInstalls(t, h.name, thousand)
		h.serve(source, "--canary", "0")
		eventually(t, "a thousand installs are ready", func() bool { return countInstalls(h.status().Status) == thousand })
		const replaced = 10
		for _, path := range paths[:replaced] {
			content, err := os.ReadFile(path)
			must(t, err)
			must(t, testfleet.WriteProgram(path+".new", content))
			must(t, os.Rename(path+".new", path))
		}
		eventually(t, "the servers of those that were replaced have been asked", func() bool {
			asked := 0
			for _, r := range h.status().Rollouts {
				asked += r.Servers[rollout.Signalled]
			}
			return asked == replaced
		})
	})
}

// BenchmarkAThousandInstalls lets a service of a process of its own watch a thousand installs, each with
// a server, for the benchmark's time: -benchtime=60s says what it costs when nothing happens. As root
// only.
func BenchmarkAThousandInstalls(b *testing.B) {
	for _, source := range []string{"bpf", "proc"} {
		b.Run(source, func(b *testing.B) { idleService(b, source) })
	}
}

func idleService(b *testing.B, source string) {
	b.Helper()
	name := fmt.Sprintf("thousand-%d", os.Getpid())
	manyInstalls(b, name, thousand)
	dir := b.TempDir()
	socket := filepath.Join(dir, "s")
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "run", "--name", name, "--source", source, "--run-dir", dir, "--socket", socket, "--state-dir", dir)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var messages bytes.Buffer
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	client := control.NewClient(socket)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		status, err := client.Status(b.Context())
		if err == nil && countInstalls(status.Status) == thousand && status.Watching.Polled == 0 {
			// A service inspects all servers once more soon after its start.
			time.Sleep(time.Until(status.Started.Add(selector.ForkAge + time.Second)))
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("not ready: %v\n%s", err, &messages)
		}
	}
	before := processorTime(b, cmd.Process.Pid)
	begin := time.Now()
	for b.Loop() {
		time.Sleep(time.Second) // it is the service's turn to do nothing
	}
	used, took := processorTime(b, cmd.Process.Pid)-before, time.Since(begin)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "%-of-a-core")
	b.ReportMetric(residentMiB(b, cmd.Process.Pid), "resident-MiB")
}

// processorTime is what a process has used, user and system time together.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	const cpuclockSched = 2 // include/linux/posix-timers.h
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Nano())
}

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if kib, found := strings.CutPrefix(line, "VmRSS:"); found {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(kib, "kB")))
			if err != nil {
				b.Fatal(err)
			}
			return float64(n) / 1024
		}
	}
	b.Fatal("no resident size")
	return 0
}
