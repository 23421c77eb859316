// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

// starts returns a service that is a shell script. The script has written its first line.
func starts(t *testing.T, script string) (s *service, broken *[]string) {
	t.Helper()
	broken = new([]string)
	s = &service{patience: 100 * time.Millisecond, broken: func(format string, _ ...any) { *broken = append(*broken, format) }}
	s.cmd = exec.Command("sh", "-c", script)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	close(copied)
	s.follow(&instance{pid: s.cmd.Process.Pid, span: span{from: witness.Now()}}, copied)
	return s, broken
}

func TestEnd_ServiceHangs_BreaksARule(t *testing.T) {
	t.Parallel()
	s, broken := starts(t, `trap "" TERM; echo; read line`)
	s.end(unix.SIGTERM)
	if i := s.current(); len(*broken) != 1 || i.endedBy != unix.SIGQUIT || i.to < i.endedAt || s.gone() {
		t.Errorf("broken: %q, signal %d at %d, end at %d", *broken, i.endedBy, i.endedAt, i.to)
	}
	s, broken = starts(t, `echo; read line`)
	s.patience = time.Minute
	s.end(unix.SIGTERM)
	if i := s.current(); len(*broken) != 0 || i.endedBy != unix.SIGTERM {
		t.Errorf("broken: %q, signal %d", *broken, i.endedBy)
	}
}

func TestGone_ServiceEndsByItself_IsTrue(t *testing.T) {
	t.Parallel()
	s, _ := starts(t, `echo`)
	<-s.current().ended
	if !s.gone() {
		t.Error("gone = false after its end")
	}
	if s, _ := starts(t, `echo; read line`); s.gone() {
		t.Error("gone = true of a running service")
	}
}

const metrics = `# TYPE ebpf_upgrader_tracker_losses_total counter
ebpf_upgrader_inotify_overflows_total 3
ebpf_upgrader_log_lines_dropped_total{reason="user"} 2
ebpf_upgrader_refused_watches_total 6
ebpf_upgrader_tracker_losses_total{kind="map-full"} 1.2e+01
ebpf_upgrader_tracker_losses_total{kind="ring-full"} 7
go_goroutines 0
broken x
`

func TestMetric_Absent_IsAnError(t *testing.T) {
	t.Parallel()
	if n, err := metric([]byte(metrics), "go_goroutines"); n != 0 || err != nil {
		t.Errorf("go_goroutines: %d, %v", n, err)
	}
	for _, name := range []string{"go_threads", "go_", "broken", "ebpf_upgrader_tracker_losses_total"} {
		if n, err := metric([]byte(metrics), name); err == nil {
			t.Errorf("%s: %d", name, n)
		}
	}
}

func TestLosses_AllInstances_AreSummed(t *testing.T) {
	t.Parallel()
	var l losses
	for _, of := range []struct {
		metrics string
		traces  bool
	}{{metrics, true}, {metrics, true}, {"ebpf_upgrader_inotify_overflows_total 1\nebpf_upgrader_log_lines_dropped_total{reason=\"user\"} 1\nebpf_upgrader_refused_watches_total 1\n", false}} {
		if err := l.add([]byte(of.metrics), &instance{traces: of.traces}); err != nil {
			t.Error(err)
		}
	}
	if want := (losses{MapFull: 24, RingFull: 14, Overflows: 7, LogLines: 5, Watches: 13}); l != want {
		t.Errorf("losses %+v, want %+v", l, want)
	}
	if err := l.add([]byte("ebpf_upgrader_inotify_overflows_total 1\n"), &instance{traces: true}); err == nil {
		t.Error("missing metrics of a kernel program are no error")
	}
}

func TestLossRows_NoLoss_IsMarked(t *testing.T) {
	t.Parallel()
	text := func(l losses, storms time.Duration) string {
		var values []string
		for _, row := range l.rows(storms) {
			values = append(values, row[1])
		}
		return strings.Join(values, "; ")
	}
	some := losses{MapFull: 4, Overflows: 5}
	if got, want := text(some, longEnough), "4; 0: this fault did not happen in this run; 5; 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := text(some, longEnough-1), "4; 0; 5; 0"; got != want {
		t.Errorf("in a short run %q, want %q", got, want)
	}
}

func TestAlarms_LogLines_AreFound(t *testing.T) {
	t.Parallel()
	log := "{\"msg\":\"started\"}\npanic: oh\n\ngoroutine 1 [running]:\nfatal error: all asleep\nWARNING: DATA RACE"
	want := []string{"panic: oh", "fatal error: all asleep", "WARNING: DATA RACE"}
	if got := alarms(strings.NewReader(log)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := alarms(strings.NewReader("{\"msg\":\"stopped\"}\nSIGQUIT: quit\n")); len(got) > 0 {
		t.Errorf("%q, want nothing", got)
	}
}
