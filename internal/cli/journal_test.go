// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
)

// journald is a socket of the journal that a service finds in its own view of /run.
type journald struct {
	run    string
	socket *net.UnixConn
}

func newJournald(t *testing.T) *journald {
	t.Helper()
	needRoot(t) // to mount
	// Not t.TempDir: the path of a socket must be short.
	run, err := os.MkdirTemp("", "eu-run-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	dir := filepath.Join(run, "systemd/journal")
	must(t, os.MkdirAll(dir, 0o755))
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	return &journald{run, socket}
}

// start starts a service as systemd does, with stderr as a stream of the journal, and returns what reads stderr.
func (j *journald) start(t *testing.T, args []string) (cmd *exec.Cmd, stderr *os.File) {
	t.Helper()
	read, write := newPipe(t)
	var s syscall.Stat_t
	must(t, syscall.Fstat(int(write.Fd()), &s))
	script := `mount --bind "$0" /run && exec "$@"`
	cmd = exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, j.run, thisBinary(t)}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", fmt.Sprintf("JOURNAL_STREAM=%d:%d", s.Dev, s.Ino))
	cmd.Stderr = write
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	must(t, write.Close())
	return cmd, read
}

// next reads an entry, by the names of its fields.
func (j *journald) next(t *testing.T) map[string]string {
	t.Helper()
	must(t, j.socket.SetReadDeadline(time.Now().Add(patience)))
	datagram := make([]byte, 64<<10)
	n, err := j.socket.Read(datagram)
	must(t, err)
	entry := make(map[string]string)
	for line := range strings.Lines(string(datagram[:n])) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		entry[name] = value
	}
	return entry
}

// until reads entries up to one of an event.
func (j *journald) until(t *testing.T, event string) (entries []map[string]string) {
	t.Helper()
	for len(entries) == 0 || entries[len(entries)-1]["EVENT"] != event {
		entries = append(entries, j.next(t))
	}
	return entries
}

// TestJournal_Warnings_AreWhatWentWrong: a death, a halt, and a file that is not ready. Each has its fields.
func TestJournal_Warnings_AreWhatWentWrong(t *testing.T) {
	t.Parallel()
	j, s := newJournald(t), newScene(t)
	s.startFleet(3, nil)
	p := newService(t)
	cmd, stderr := j.start(t, p.args(s.Path(), "proc"))
	entries := j.until(t, "service-started")
	s.replace()
	entries = append(entries, j.until(t, "rollout-complete")...)
	must(t, s.ReplaceExiting(1))
	entries = append(entries, j.until(t, "rollout-halted")...)
	must(t, s.ReplaceTruncated(serverBinary()))
	entries = append(entries, j.until(t, "install-not-ready")...)
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	entries = append(entries, j.until(t, "service-stopped")...)
	must(t, cmd.Wait())
	var warnings []string
	for _, e := range entries {
		if e["SYSLOG_IDENTIFIER"] != "ebpf-upgrader" || e["MESSAGE"] == "" || e["TIME"]+e["LEVEL"]+e["MSG"] != "" {
			t.Errorf("an entry lacks its identifier or its message, or has the fields of log/slog: %v", e)
		}
		if e["PRIORITY"] <= "4" {
			warnings = append(warnings, e["PRIORITY"]+" "+e["EVENT"])
		}
		if pid, err := strconv.Atoi(e["OBJECT_PID"]); e["EVENT"] == "server-crashed" && (err != nil || pid == 0 ||
			e["INSTALL"] != s.Path() || e["OBJECT_UID"] != strconv.Itoa(os.Geteuid()) || e["ROLLOUT"] == "" || !strings.HasSuffix(e["MESSAGE"], ": exit code 1")) {
			t.Errorf("the death is %v", e)
		}
	}
	if want := []string{"4 server-crashed", "3 rollout-halted", "4 install-not-ready"}; !slices.Equal(warnings, want) {
		t.Errorf("the warnings are %v, want %v", warnings, want)
	}
	if n, err := stderr.Read(make([]byte, 1)); n != 0 {
		t.Errorf("stderr has a line, too: %v", err)
	}
}

// TestJournal_NotRead_AllUpgraded: a journal that stands still delays nothing.
func TestJournal_NotRead_AllUpgraded(t *testing.T) {
	t.Parallel()
	j, s := newJournald(t), newScene(t)
	fleet := s.startFleet(30, nil)
	p := newService(t)
	cmd, _ := j.start(t, append(p.args(s.Path(), "proc"), "--log-level", "debug"))
	c := p.client(t)
	for range 2 {
		s.replace()
		s.allUpgraded(fleet)
		s.phase(c, rollout.PhaseComplete)
	}
	endsWithin(t, cmd, 5*time.Second)
}

// TestLog_ThirtyUpgraded_AHandfulOfLines, as for one server.
func TestLog_ThirtyUpgraded_AHandfulOfLines(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	fleet := s.startFleet(30, nil)
	p := newService(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	cmd := p.logTo(t, log, p.args(s.Path(), "proc"))
	c := p.client(t)
	s.replace()
	s.allUpgraded(fleet)
	s.phase(c, rollout.PhaseComplete)
	endsWithin(t, cmd, 5*time.Second)
	_, err = log.Seek(0, 0)
	must(t, err)
	var events []string
	for _, l := range logLines(t, log) {
		if l.Level != "INFO" {
			t.Errorf("the line %s has the level %s", l.Event, l.Level)
		}
		events = append(events, l.Event)
	}
	want := []string{"gate-none", "service-hurries", "service-started", "rollout-began", "rollout-rolling", "rollout-complete", "service-stopped"}
	if !slices.Equal(events, want) {
		t.Errorf("the log has the lines %v, want %v", events, want)
	}
}
