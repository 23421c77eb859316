// SPDX-License-Identifier: MIT

//go:build linux

package lock_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/lock"
)

func isAnnounced(t *testing.T, dir string, pid int) lock.Sign {
	t.Helper()
	sign, ok := lock.Announced(dir)
	if !ok || sign.PID != pid {
		t.Fatalf("the sign says %+v, %t; want process %d", sign, ok, pid)
	}
	return sign
}

func notAnnounced(t *testing.T, dir, when string) {
	t.Helper()
	if sign, ok := lock.Announced(dir); ok {
		t.Errorf("%s, the sign says %+v", when, sign)
	}
}

// TestEverybodySeesWhoServesTheHost, for as long as that process runs.
func TestEverybodySeesWhoServesTheHost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	notAnnounced(t, dir, "without a folder")
	c := holder(t, dir, wholeHost)
	if sign := isAnnounced(t, dir, c.Process.Pid); !sign.Shares([]string{"x", "rag-rat"}) || sign.Shares([]string{"rag"}) {
		t.Errorf("it shares the wrong names: %q", sign.Names)
	}
	if info, err := os.Stat(filepath.Join(dir, "served-by")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the sign is %v, %v; want it to be readable for everybody", info, err)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	notAnnounced(t, dir, "after the process was killed")

	l, err := lock.AcquireHost(dir, "")
	must(t, err)
	must(t, l.Announce([]string{"rag-rat"}))
	isAnnounced(t, dir, os.Getpid())
	must(t, l.Release())
	notAnnounced(t, dir, "after the release")
	empty(t, dir)
}

// TestASignOfSomebodyElseIsNone: neither of the next process with that number, nor of another boot or
// namespace, nor one that others could have written.
func TestASignOfSomebodyElseIsNone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	sign := isAnnounced(t, dir, holder(t, dir, wholeHost).Process.Pid)
	path := filepath.Join(dir, "served-by")
	good, err := os.ReadFile(path)
	must(t, err)
	write := func(s lock.Sign) {
		content, err := json.Marshal(s)
		must(t, err)
		must(t, os.WriteFile(path, content, 0o644))
	}
	for what, change := range map[string]func(*lock.Sign){
		"another start time": func(s *lock.Sign) { s.StartTime++ },
		"another boot":       func(s *lock.Sign) { s.Boot = "0123" },
		"another namespace":  func(s *lock.Sign) { s.Namespace = "pid:[1]" },
		"nobody's number":    func(s *lock.Sign) { s.PID = 1 << 30 },
		"all processes":      func(s *lock.Sign) { s.PID = -1 },
	} {
		changed := sign
		change(&changed)
		write(changed)
		notAnnounced(t, dir, "with "+what)
	}
	must(t, os.WriteFile(path, good[:len(good)/2], 0o644))
	notAnnounced(t, dir, "with half of it")
	must(t, os.WriteFile(path, good, 0o644))
	isAnnounced(t, dir, sign.PID)

	must(t, os.Chmod(dir, 0o777))
	notAnnounced(t, dir, "in a folder for everybody")
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Rename(path, path+"2"))
	must(t, os.Symlink("served-by2", path))
	notAnnounced(t, dir, "through a link")
	must(t, os.Remove(path))
	must(t, unix.Mkfifo(path, 0o644))
	notAnnounced(t, dir, "from a FIFO")
	if os.Geteuid() == 0 {
		must(t, os.Remove(path))
		must(t, os.Rename(path+"2", path))
		must(t, os.Chown(path, 65534, 65534))
		notAnnounced(t, dir, "of another user")
	}
}
