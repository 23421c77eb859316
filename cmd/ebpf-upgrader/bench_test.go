// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
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
// and their ratios. IDLE says how many processes there are, 20,000 if it is not set; every hundredth
// looks like an armed server, all of which are outdated and stay so. As root only.
func BenchmarkTrigger(b *testing.B) {
	path := outdatedCrowd(b)
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

// outdatedCrowd starts processes that would exec path, where another file stands than they run.
func outdatedCrowd(b *testing.B) (path string) {
	b.Helper()
	n := 20000
	if text := os.Getenv("IDLE"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	install, err := testfleet.NewInstall(b.TempDir(), self)
	if err != nil {
		b.Fatal(err)
	}
	crowd, err := testfleet.StartCrowd(n, testfleet.CrowdOptions{Dir: b.TempDir(), UpgradeBin: install.Path()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = crowd.Stop() })
	return install.Path()
}

func trigger(b *testing.B, path, source string) {
	b.Helper()
	var messages bytes.Buffer
	args := []string{"trigger", "--install-path", path, "--source", source, "--settle", "0s"}
	var out bytes.Buffer
	if code := run(b.Context(), args, &out, &messages); code != exitOK || !bytes.Contains(out.Bytes(), []byte("sent")) {
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
