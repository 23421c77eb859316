// SPDX-License-Identifier: MIT

//go:build linux

package sys_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

func TestStatFields_AnyName_AreCountedBehindIt(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cat", "a b", ") Z 1 (", "x)\n(y"} {
		line := fmt.Appendf(nil, "812 (%s) S 1 812 7\n", name)
		if got, want := fields(line), "3=S 4=1 5=812 6=7 "; got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func TestStatFields_Malformed_End(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"": "", "812 cat S 1": "", "812 )cat( S 1": "", "812 (cat)S 1": "", "812 (cat)  S 1": "", "812 (cat) S  1": "3=S ",
	} {
		if got := fields([]byte(line)); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func fields(line []byte) (all string) {
	for number, field := range sys.StatFields(line) {
		all += fmt.Sprintf("%d=%s ", number, field)
	}
	return all
}

// A lookup of ".." fails with EAGAIN during each rename on the host. Without retries, some of these lookups fail.
func TestOpenPath_DuringRenames_Succeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(root) })
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for from, to := filepath.Join(dir, "x"), filepath.Join(dir, "y"); ; from, to = to, from {
			select {
			case <-stop:
				return
			default:
				_ = os.Mkdir(from, 0o755)
				_ = os.Rename(from, to)
			}
		}
	}()
	path := strings.Repeat("a/b/../../", 20) + "a"
	for range 2000 {
		fd, err := sys.OpenPath(root, path, 0, unix.RESOLVE_IN_ROOT)
		if err != nil {
			t.Errorf("OpenPath: %v", err)
			break
		}
		_ = unix.Close(fd)
	}
	close(stop)
	<-stopped
}

func TestWaitFor_ClosedOrNot_IsReported(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	if sys.WaitFor(done, time.Millisecond) {
		t.Error("WaitFor = true for an open channel")
	}
	close(done)
	if !sys.WaitFor(done, time.Hour) {
		t.Error("WaitFor = false for a closed channel")
	}
}

func TestErrorText_WrappedErrno_IsItsText(t *testing.T) {
	t.Parallel()
	if got := sys.ErrorText(fmt.Errorf("open %q: %w", "/x", unix.ENOENT)); got != "no such file or directory" {
		t.Errorf("ErrorText = %q", got)
	}
	if got := sys.ErrorText(errors.New("is empty")); got != "is empty" {
		t.Errorf("ErrorText = %q", got)
	}
}
