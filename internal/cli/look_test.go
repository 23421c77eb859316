// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// opensOf counts how often a file is opened from now on, other than with O_PATH.
func opensOf(t *testing.T, path string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_CLOSE) // the close keeps two opens from being merged
	must(t, err)
	n := 0
	return func() int {
		buf := make([]byte, 4<<10)
		got, err := unix.Read(fd, buf)
		if err != nil {
			return n
		}
		for events := buf[:got]; len(events) >= unix.SizeofInotifyEvent; events = events[unix.SizeofInotifyEvent:] {
			if events[4]&unix.IN_OPEN != 0 {
				n++
			}
		}
		return n
	}
}

// TestLook_EveryCommand_OpensNothing: each open of the installed file has the servers' own trigger signal them all.
func TestLook_EveryCommand_OpensNothing(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		s.replace()
		opens := opensOf(t, s.Path())
		for _, args := range [][]string{
			{"list", "--source", source},
			{"list", "--source", source, "--install-path", s.Path()},
			{"explain", server.PID().String()},
			{"explain", "--install-path", s.Path(), server.PID().String()},
			{"trigger", "--dry-run", "--settle", "1ms", "--source", source, "--install-path", s.Path()},
		} {
			code, stdout, stderr := command(t, args...)
			if code != exitOK || !strings.Contains(stdout, "outdated") {
				t.Errorf("%v: exit code %d:\n%s%s", args, code, stdout, stderr)
			}
			if n := opens(); n > 0 {
				t.Errorf("%v opened the installed file %d times", args, n)
			}
		}
		unharmed(t, server)
	})
}

// TestService_UnreadyFile_IsOpenedOnce: also where a trigger is handed to it.
func TestService_UnreadyFile_IsOpenedOnce(t *testing.T) {
	takesLong(t)
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.start(nil)
		dir := t.TempDir()
		next := mustInstall(t, dir)
		must(t, next.ReplaceTruncated(serverBinary()))
		opens := opensOf(t, next.Path())
		c := s.serve(source).client(t)
		must(t, os.Rename(next.Path(), s.Path()))
		unready := func() bool {
			return slices.ContainsFunc(s.status(c).Installs, func(i api.InstallStatus) bool {
				return strings.HasPrefix(i.Detail, "is truncated")
			})
		}
		eventually(t, "the file is found to be truncated", unready)
		began := time.Now()
		eventually(t, "an unready file is looked at again", func() bool { return time.Since(began) > 5*time.Second })
		_, stdout, stderr := command(t, "trigger", "--install-path", s.Path(), "--settle", "1ms")
		if n := opens(); n != 1 || !unready() {
			t.Errorf("the file was opened %d times, want once\n%s%s", n, stdout, stderr)
		}
	})
}

// TestService_FileOfAnother_IsNotOpened: a hostile user names the file of another, in a folder that only that may
// search, by other spellings of its path.
func TestService_FileOfAnother_IsNotOpened(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		theirs := h.home(victim)
		link := filepath.Join(newScene(t).Dir(), "link")
		must(t, os.Symlink(theirs.Path(), link))
		program := newScene(t)
		opens := opensOf(t, theirs.Path())
		var servers []*testfleet.Server
		for _, path := range []string{theirs.Path(), link, theirs.Dir() + "/./rag-rat", theirs.Dir() + "/absent"} {
			servers = append(servers, program.start(func(o *testfleet.Options) {
				o.Argv0, o.UpgradeBin, o.Credential = h.name, &path, &testfleet.Credential{UID: hostile, GID: hostile}
			}))
		}
		h.serve(source)
		eventually(t, "all are found not to reach what they name", func() bool {
			return h.status().Verdicts[selector.UnreadyInstall] == len(servers)
		})
		theirs.replace()
		opensOfNew := opensOf(t, theirs.Path())
		for _, server := range servers {
			_, stdout, _ := command(t, "explain", "--name", h.name, server.PID().String())
			if want := "may not search " + theirs.Dir(); !strings.Contains(stdout, want) {
				t.Errorf("explain does not say %q:\n%s", want, stdout)
			}
		}
		if n := len(h.status().Installs); n > 0 {
			t.Errorf("%d installs are watched, want none", n)
		}
		if n := opens() + opensOfNew(); n > 0 {
			t.Errorf("the file was opened %d times", n)
		}
		allUnharmed(t, servers)
	})
}

// TestServer_InterpreterNotForItsUser_IsNotSignalled: its exec would fail, and end it.
func TestServer_InterpreterNotForItsUser_IsNotSignalled(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		s := newScene(t)
		interpreter := filepath.Join(s.Dir(), "interp")
		content, err := os.ReadFile(serverBinary())
		must(t, err)
		must(t, os.WriteFile(interpreter, content, 0o700))
		servers := h.start(s, hostile, 2)
		h.serve(source)
		h.knows(1)
		s.unpack(selector.Image{}, func(f *os.File) error {
			_, err := f.WriteString("#!" + interpreter + "\n")
			return err
		})
		eventually(t, "both are found not to be able to exec it", func() bool {
			listed, err := h.client(t).Servers(within(t))
			must(t, err)
			return len(listed) == len(servers) && !slices.ContainsFunc(listed, func(s api.ServerStatus) bool {
				return !strings.Contains(s.Detail, "not executable for the server's user")
			})
		})
		allUnharmed(t, servers)
	})
}
