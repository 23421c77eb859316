// SPDX-License-Identifier: MIT

//go:build linux

package stage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/internal/sys"
)

// asPlacer makes the test binary place the install that it names, and kill itself at the step in killAt.
const asPlacer, killAt = "STAGE_TEST_PLACE", "STAGE_TEST_KILL_AT"

func TestMain(m *testing.M) {
	path := os.Getenv(asPlacer)
	if path == "" {
		os.Exit(m.Run())
	}
	want, err := ReleaseOf(NextPath(path))
	if err == nil {
		err = place(path, want, func(step string) {
			if step == os.Getenv(killAt) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		})
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("REQUIRE_BPF") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root: only files of root are staged")
	}
}

// staged returns an install with the content "old", and "new" staged.
func staged(t *testing.T) (path string) {
	t.Helper()
	needRoot(t)
	path = filepath.Join(t.TempDir(), "tool")
	write(t, path, "old")
	write(t, NextPath(path), "new")
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

func release(t *testing.T, path string) Release {
	t.Helper()
	r, err := ReleaseOf(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlace_StagedFile_ReplacesInstalled(t *testing.T) {
	path := staged(t)
	if err := Place(path, release(t, NextPath(path))); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "new")
	holds(t, PreviousPath(path), "old")
	holds(t, NextPath(path), "new")
	names(t, path, "tool tool.next tool.previous")
}

// names checks what stands in the folder of a path.
func names(t *testing.T, path, want string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	if got := strings.Join(all, " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPlace_KilledAtEachStep_NothingIsHalfDone kills a process at each step. The install is the old file or the new one, and
// the next process ends the work.
func TestPlace_KilledAtEachStep_NothingIsHalfDone(t *testing.T) {
	needRoot(t)
	for _, step := range []string{"created", "copied", "synced", "linked", "kept", "renamed"} {
		t.Run(step, func(t *testing.T) {
			path := staged(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), asPlacer+"="+path, killAt+"="+step)
			err := cmd.Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("ended with %v, want SIGKILL", err)
			}
			want := "old"
			if step == "renamed" {
				want = "new"
			}
			holds(t, path, want)
			if step == "kept" || step == "renamed" {
				holds(t, PreviousPath(path), "old")
			}
			holds(t, NextPath(path), "new")
			if step == "renamed" { // the machine finds it in place, and does not place it again
				return
			}
			if err := Place(path, release(t, NextPath(path))); err != nil {
				t.Fatal(err)
			}
			holds(t, path, "new")
			holds(t, PreviousPath(path), "old")
			names(t, path, "tool tool.next tool.previous")
		})
	}
}

func TestPlace_AnotherIsStaged_IsRefused(t *testing.T) {
	path := staged(t)
	want := release(t, NextPath(path))
	write(t, NextPath(path), "newer")
	if err := Place(path, want); !errors.Is(err, ErrChanged) {
		t.Errorf("error %v", err)
	}
	holds(t, path, "old")
	names(t, path, "tool tool.next")
}

func TestPlace_NothingInstalled_IsInstalled(t *testing.T) {
	path := staged(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Place(path, release(t, NextPath(path))); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "new")
	names(t, path, "tool tool.next")
}

// TestRestore_Previous_IsTheSameFile: servers that still run it are current again.
func TestRestore_Previous_IsTheSameFile(t *testing.T) {
	path := staged(t)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Place(path, release(t, NextPath(path))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Restore(path); err != nil {
			t.Fatal(err)
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("another file: %v", err)
		}
	}
	names(t, path, "tool tool.next tool.previous")
}

func TestRestore_NothingKept_SaysSo(t *testing.T) {
	if err := Restore(staged(t)); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("error %v", err)
	}
}

// TestReleaseOf_FileOfAnother_IsRefused: what another user could change is not put in place.
func TestReleaseOf_FileOfAnother_IsRefused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string) error{
		"owner":          func(_ *testing.T, path string) error { return os.Chown(path, 1234, 0) },
		"group":          func(_ *testing.T, path string) error { return os.Chmod(path, 0o775) },
		"all":            func(_ *testing.T, path string) error { return os.Chmod(path, 0o757) },
		"folder's owner": func(_ *testing.T, path string) error { return os.Chown(filepath.Dir(path), 1234, 0) },
		"shared folder":  func(_ *testing.T, path string) error { return os.Chmod(filepath.Dir(path), 0o777|os.ModeSticky) },
		"way in between": func(_ *testing.T, path string) error { return os.Chown(filepath.Dir(filepath.Dir(path)), 1234, 0) },
		"link": func(_ *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+".x"), os.Symlink(path+".x", path))
		},
		"setuid":         func(_ *testing.T, path string) error { return os.Chmod(path, 0o755|os.ModeSetuid) },
		"not executable": func(_ *testing.T, path string) error { return os.Chmod(path, 0o644) },
		"no regular file": func(_ *testing.T, path string) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := NextPath(staged(t))
			if err := spoil(t, path); err != nil {
				t.Fatal(err)
			}
			if _, err := ReleaseOf(path); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestReleaseOf_LinkToUsersFolder_IsRefused(t *testing.T) {
	path := staged(t)
	users := filepath.Join(t.TempDir(), "home")
	if err := errors.Join(os.Mkdir(users, 0o755), os.Symlink(filepath.Dir(path), filepath.Join(users, "bin")), os.Chown(users, 1234, 0)); err != nil {
		t.Fatal(err)
	}
	trusted := filepath.Join(t.TempDir(), "bin")
	if err := os.Symlink(filepath.Join(users, "bin"), trusted); err != nil {
		t.Fatal(err)
	}
	if err := sys.TrustedFolder(trusted); !errors.Is(err, sys.ErrNotTrusted) {
		t.Errorf("error %v", err)
	}
}
