// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// echo is a cat process between two pipes.
type echo struct {
	pid selector.PID
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	e := &echo{selector.PID(cmd.Process.Pid), in, bufio.NewReader(out), func() {
		_ = in.Close()
		_ = cmd.Wait()
	}}
	t.Cleanup(e.end)
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// line writes one line and waits for it to come back.
func (e *echo) line(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(e.in, "line\n")
	must(t, err)
	_, err = e.out.ReadString('\n')
	must(t, err)
}

// idleActivity returns the activity once the process waits for the next line.
func (e *echo) idleActivity(t *testing.T, fs *procfs.FS) selector.Activity {
	t.Helper()
	e.line(t)
	pollUntil(t, "cat waits for the next line", func() bool {
		isBusy, err := fs.HasBusyThread(e.pid)
		must(t, err)
		return !isBusy
	})
	a, err := fs.Activity(e.pid)
	must(t, err)
	return a
}

func TestActivity_NothingDone_StaysEqual(t *testing.T) {
	t.Parallel()
	fs, e := open(t), startEcho(t)
	before := e.idleActivity(t, fs)
	if after, err := fs.Activity(e.pid); err != nil || after != before || !before.IsCounted {
		t.Errorf("a waiting process: activity %+v, then %+v, %v", before, after, err)
	}
	e.line(t)
	after, err := fs.Activity(e.pid)
	must(t, err)
	want := before
	want.Reads, want.Writes, want.BytesRead, want.BytesWritten = want.Reads+1, want.Writes+1, want.BytesRead+5, want.BytesWritten+5
	if after != want {
		t.Errorf("after an echo of 5 bytes: activity %+v, then %+v", before, after)
	}
}

func TestActivity_ThreadRuns_IsBusy(t *testing.T) {
	t.Parallel()
	fs := open(t)
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := selector.PID(cmd.Process.Pid)
	pollUntil(t, "a loop without a pause runs", func() bool {
		isBusy, err := fs.HasBusyThread(pid)
		must(t, err)
		return isBusy
	})
}

// An open of a FIFO sleeps until there is a writer, and is neither a read nor a write.
func TestActivity_ThreadOpensPipe_IsBusy(t *testing.T) {
	t.Parallel()
	fs, pipe := open(t), filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(pipe, 0o600))
	cmd := exec.Command("cat", pipe)
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	pid := selector.PID(cmd.Process.Pid)
	pollUntil(t, "cat sleeps in the open", func() bool {
		text, err := os.ReadFile("/proc/" + pid.String() + "/syscall")
		must(t, err)
		return strings.HasPrefix(string(text), strconv.Itoa(unix.SYS_OPENAT)+" ")
	})
	if isBusy, err := fs.HasBusyThread(pid); err != nil || !isBusy {
		t.Errorf("HasBusyThread = %t, %v during an open, want true", isBusy, err)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	must(t, err)
	defer writer.Close() //nolint:errcheck // nothing was written
	pollUntil(t, "cat waits for input", func() bool {
		isBusy, err := fs.HasBusyThread(pid)
		must(t, err)
		return !isBusy
	})
}

// pollUntil polls until a condition is true.
func pollUntil(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestActivity_ProcessEnded_IsGone(t *testing.T) {
	t.Parallel()
	fs, e := open(t), startEcho(t)
	e.end()
	if _, err := fs.Activity(e.pid); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("Activity of an ended process: %v", err)
	}
	if _, err := fs.HasBusyThread(e.pid); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("HasBusyThread of an ended process: %v", err)
	}
}

func BenchmarkActivity(b *testing.B) {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = fs.Close() }()
	cmd := exec.Command("sleep", "infinity")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for b.Loop() {
		if _, err := fs.Activity(selector.PID(cmd.Process.Pid)); err != nil {
			b.Fatal(err)
		}
	}
}
