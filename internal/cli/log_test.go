// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// logTo runs the service as a process with its log in a file.
func (s *service) logTo(t *testing.T, log *os.File, args []string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(thisBinary(t), args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// newPipe is a pipe that blocks, as one between a service and its log reader does.
func newPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _, _ = read.Close(), write.Close() })
	return read, write
}

// endsWithin stops a service and requires a clean end in time.
func endsWithin(t *testing.T, cmd *exec.Cmd, limit time.Duration) {
	t.Helper()
	began := time.Now()
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the service ended with %v, want a clean end", err)
	}
	if took := time.Since(began); took > limit {
		t.Errorf("the service took %s to end, want at most %s", took, limit)
	}
}

// TestLog_PipeNotRead_AllUpgraded: the pipe is full before the service writes its first line.
func TestLog_PipeNotRead_AllUpgraded(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	fleet := s.startFleet(30, nil)
	p := newService(t)
	_, log := newPipe(t)
	full, err := unix.FcntlInt(log.Fd(), unix.F_SETPIPE_SZ, 4096)
	must(t, err)
	_, err = log.Write(make([]byte, full))
	must(t, err)
	cmd := p.logTo(t, log, p.args(s.Path(), "proc"))
	c := p.client(t)
	for range 3 {
		s.replace()
		s.allUpgraded(fleet)
		s.phase(c, rollout.PhaseComplete)
	}
	if queued, err := unix.IoctlGetInt(int(log.Fd()), unix.TIOCINQ); err != nil || queued != full {
		t.Errorf("the pipe has %d bytes (%v), want it full with %d", queued, err, full)
	}
	endsWithin(t, cmd, 5*time.Second)
}

// TestLog_StopsWhileQueued_LinesWritten: the reader takes the lines only after the stop has begun.
func TestLog_StopsWhileQueued_LinesWritten(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	fleet := s.startFleet(10, nil)
	p := newService(t)
	read, log := newPipe(t)
	_, err := unix.FcntlInt(log.Fd(), unix.F_SETPIPE_SZ, 4096)
	must(t, err)
	cmd := p.logTo(t, log, append(p.args(s.Path(), "proc"), "--scan-every", "1m", "--log-level", "debug"))
	c := p.client(t)
	s.replace()
	s.allUpgraded(fleet)
	s.phase(c, rollout.PhaseComplete)
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	must(t, log.Close())
	upgraded := 0
	for _, line := range logLines(t, read) {
		if line.Event == "server-state" && line.State == "upgraded" {
			upgraded++
		}
	}
	if must(t, cmd.Wait()); upgraded != len(fleet) {
		t.Errorf("the log says of %d servers that they were upgraded, want %d", upgraded, len(fleet))
	}
}

func TestLog_ReaderGone_ServiceUpgrades(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	p := newService(t)
	read, log := newPipe(t)
	cmd := p.logTo(t, log, p.args(s.Path(), "proc"))
	c := p.client(t)
	must(t, read.Close())
	must(t, log.Close())
	for range 2 {
		s.replace()
		s.upgraded(server)
		s.phase(c, rollout.PhaseComplete)
	}
	if text := p.get(t, "/metrics"); !strings.Contains(text, `ebpf_upgrader_log_lines_dropped_total{reason="reader"}`) ||
		strings.Contains(text, `ebpf_upgrader_log_lines_dropped_total{reason="reader"} 0`) {
		t.Errorf("the metrics count no dropped line:\n%s", text)
	}
	endsWithin(t, cmd, 5*time.Second)
}

// TestLog_DiskFull_SaysWhatWasDropped once the disk has room.
func TestLog_DiskFull_SaysWhatWasDropped(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	p, dir := smallRun(t)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = log.Close() })
	room := fill(t, dir)
	cmd := p.logTo(t, log, p.args(s.Path(), "proc"))
	c := p.client(t)
	upgrade := func() {
		s.replace()
		s.upgraded(server)
		s.phase(c, rollout.PhaseComplete)
	}
	upgrade()
	room()
	upgrade()
	endsWithin(t, cmd, 5*time.Second)
	text, err := os.ReadFile(log.Name())
	must(t, err)
	lines := logLines(t, bytes.NewReader(text))
	i := slices.IndexFunc(lines, func(l logLine) bool { return l.Event == "lines-dropped" })
	if i < 0 || lines[i].Lines == 0 {
		t.Errorf("the log does not say how many lines were dropped:\n%s", text)
	}
}

// logLine is a line of the log.
type logLine struct {
	Level, Msg, Event, State string
	UID                      *int64
	Lines                    uint64
}

func logLines(t *testing.T, from interface{ Read([]byte) (int, error) }) (all []logLine) {
	t.Helper()
	text := bufio.NewScanner(from)
	text.Buffer(nil, 1<<20)
	for text.Scan() {
		var l logLine
		if err := json.Unmarshal(text.Bytes(), &l); err != nil {
			t.Errorf("%v: %s", err, text.Bytes())
		}
		all = append(all, l)
	}
	if err := text.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	return all
}

// TestLog_UserFloods_OthersLinesWritten: 300 servers of a user upgrade, and then a server of another user dies.
func TestLog_UserFloods_OthersLinesWritten(t *testing.T) {
	needRoot(t)
	takesLong(t)
	const flooding, other = 4320, 4321
	loud, quiet := newScene(t), newScene(t)
	as := func(uid uint32) func(*testfleet.Options) {
		return func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} }
	}
	fleet := loud.startFleet(300, as(flooding))
	quiet.startFleet(3, as(other))
	p := newService(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	args := append(p.args(loud.Path(), "proc"), "--install-path", quiet.Path(), "--log-level", "debug")
	cmd := p.logTo(t, log, args)
	c := p.client(t)
	loud.replace()
	loud.allUpgraded(fleet)
	must(t, quiet.ReplaceExiting(1))
	eventually(t, "the rollout of the other user is halted", func() bool {
		return slices.ContainsFunc(quiet.status(c).Rollouts, func(r rollout.Report) bool { return r.Phase == rollout.PhaseHalted })
	})
	endsWithin(t, cmd, 5*time.Second)
	_, err = log.Seek(0, 0)
	must(t, err)
	of, dropped, died, halted := make(map[int64]int), uint64(0), false, false
	for _, l := range logLines(t, log) {
		switch {
		case l.Event == "lines-of-user-dropped":
			if dropped += l.Lines; l.UID == nil || *l.UID != flooding {
				t.Errorf("dropped lines are those of user %v, want %d", l.UID, flooding)
			}
		case l.UID != nil:
			of[*l.UID]++
			died = died || *l.UID == other && l.Event == "server-crashed"
			halted = halted || *l.UID == other && l.Event == "rollout-halted"
		}
	}
	t.Logf("%d lines of the user that floods, %d dropped; %d of the other", of[flooding], dropped, of[other])
	if of[flooding] > 600 || dropped == 0 {
		t.Errorf("the log has %d lines of a user, and says that %d were dropped; want 600, and some", of[flooding], dropped)
	}
	if !died || !halted {
		t.Errorf("the log has the death: %t, and the halt: %t; want both", died, halted)
	}
}
