// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"ebpf-upgrader/internal/testfleet"
)

// BenchmarkTrigger holds whole rounds, with every signal sent, against the servers' own walk, which
// only finds whom it would signal: in turns, so that all meet the same load. Reported are medians
// and their ratios. IDLE says how many idle processes there are besides 200 armed servers, all of
// which are outdated and stay so. As root only.
func BenchmarkTrigger(b *testing.B) {
	idle, _ := strconv.Atoi(os.Getenv("IDLE"))
	crowd, err := testfleet.StartCrowd(idle, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = crowd.Stop() }()
	path := outdatedFleet(b, 200)
	var walks, scans, tracked []time.Duration
	for b.Loop() {
		walks = append(walks, timed(func() { originalWalk(path) }))
		scans = append(scans, timed(func() { trigger(b, path, "proc") }))
		tracked = append(tracked, timed(func() { trigger(b, path, "bpf") }))
	}
	b.ReportMetric(0, "ns/op") // of all together says nothing
	b.ReportMetric(median(walks), "original-ms")
	b.ReportMetric(median(scans), "trigger-proc-ms")
	b.ReportMetric(median(tracked), "trigger-bpf-ms")
	b.ReportMetric(median(walks)/median(scans), "proc-times")
	b.ReportMetric(median(walks)/median(tracked), "bpf-times")
}

// outdatedFleet starts servers that catch the signal and never upgrade, and installs a new binary.
func outdatedFleet(b *testing.B, n int) (path string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	install, err := testfleet.NewInstall(b.TempDir(), self)
	if err != nil {
		b.Fatal(err)
	}
	path = install.Path()
	fleet, err := testfleet.StartFleet(b.Context(), n, testfleet.Options{
		Binary: path, UpgradeBin: &path, Behaviour: testfleet.Behaviour{Ignore: true},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = fleet.StopAll() })
	if err := fleet.AwaitArmed(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	if err := install.Replace(self); err != nil {
		b.Fatal(err)
	}
	return path
}

func trigger(b *testing.B, path, source string) {
	b.Helper()
	var messages bytes.Buffer
	args := []string{"trigger", "--install-path", path, "--source", source, "--settle", "0s"}
	if code := run(b.Context(), args, io.Discard, &messages); code != exitOK {
		b.Fatalf("%v: exit code %d: %s", args, code, &messages)
	}
}

// originalWalk is the servers' own trigger as a plain program: stat the image of every process, then
// read the command line, then the environment of those that match.
func originalWalk(path string) (found int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	name := filepath.Base(path)
	for _, e := range entries {
		dir := filepath.Join("/proc", e.Name())
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "exe")); err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		args := bytes.Split(cmdline, []byte{0})
		if filepath.Base(string(args[0])) != name || !slices.ContainsFunc(args[1:], isMCP) {
			continue
		}
		if environ, err := os.ReadFile(filepath.Join(dir, "environ")); err == nil && bytes.Contains(environ, []byte("RAG_RAT_UPGRADE_BIN=")) {
			found++
		}
	}
	return found
}

func isMCP(arg []byte) bool { return string(arg) == "mcp" }

func timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}
