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

// echo is cat between two pipes.
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

// line sends one there and back.
func (e *echo) line(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(e.in, "line\n")
	must(t, err)
	_, err = e.out.ReadString('\n')
	must(t, err)
}

// settled is its activity once it waits for the next line.
func (e *echo) isDecided(t *testing.T, fs *procfs.FS) selector.Activity {
	t.Helper()
	e.line(t)
	await(t, "cat waits for the next line", func() bool {
		works, err := fs.HasBusyThread(e.pid)
		must(t, err)
		return !works
	})
	a, err := fs.Activity(e.pid)
	must(t, err)
	return a
}

func TestActivity_NothingDone_StaysEqual(t *testing.T) {
	t.Parallel()
	fs, e := open(t), startEcho(t)
	before := e.isDecided(t, fs)
	if after, err := fs.Activity(e.pid); err != nil || after != before || !before.IsCounted {
		t.Errorf("a process that waits has done %+v, then %+v, %v", before, after, err)
	}
	e.line(t)
	after, err := fs.Activity(e.pid)
	must(t, err)
	want := before
	want.Reads, want.Writes, want.BytesRead, want.BytesWritten = want.Reads+1, want.Writes+1, want.BytesRead+5, want.BytesWritten+5
	if after != want {
		t.Errorf("a line of 5 bytes that was echoed leads from %+v to %+v", before, after)
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
	await(t, "a loop without a pause runs", func() bool {
		works, err := fs.HasBusyThread(pid)
		must(t, err)
		return works
	})
}

// TestActivity_ThreadOpensPipe_IsBusy: the open sleeps until there is a writer, and neither reads nor writes.
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
	await(t, "cat sleeps in the open", func() bool {
		text, err := os.ReadFile("/proc/" + pid.String() + "/syscall")
		must(t, err)
		return strings.HasPrefix(string(text), strconv.Itoa(unix.SYS_OPENAT)+" ")
	})
	if works, err := fs.HasBusyThread(pid); err != nil || !works {
		t.Errorf("a process that waits for an open does something: %t, %v", works, err)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	must(t, err)
	defer writer.Close() //nolint:errcheck // nothing was written
	await(t, "cat waits for something to read", func() bool {
		works, err := fs.HasBusyThread(pid)
		must(t, err)
		return !works
	})
}

// await polls until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 10 s it is not so: %s", what)
		}
	}
}

func TestActivity_ProcessEnded_IsGone(t *testing.T) {
	t.Parallel()
	fs, e := open(t), startEcho(t)
	e.end()
	if _, err := fs.Activity(e.pid); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("Activity of a process that has ended: %v", err)
	}
	if _, err := fs.HasBusyThread(e.pid); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("Works of a process that has ended: %v", err)
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
