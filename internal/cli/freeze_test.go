// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
)

// The requests of fsfreeze(8) (include/uapi/linux/fs.h).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// frozen mounts an ext4 of its own at dir and freezes it, as a backup does. Every write to it waits until thaw.
func frozen(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 16<<20))
	must(t, os.MkdirAll(dir, 0o700))
	for _, args := range [][]string{{"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	root, err := os.Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = root.Close() })
	must(t, unix.IoctlSetInt(int(root.Fd()), fiFreeze, 0))
	thaw = func() { _ = unix.IoctlSetInt(int(root.Fd()), fiThaw, 0) }
	t.Cleanup(thaw)
	return thaw
}

// TestPause_StateFrozen_OthersAnswered: the file of the pause is written outside of the loop, and an operator waits for it
// for 2 s at most.
func TestPause_StateFrozen_OthersAnswered(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	server := s.start(nil)
	p := newService(t)
	thaw := frozen(t, p.stateDir)
	p.serve(t, p.args(s.Path(), "proc"))
	c := p.client(t)
	for _, change := range []struct {
		name     string
		call     func() error
		isPaused bool
	}{
		{"pause", func() error { return c.Pause(within(t)) }, true},
		{"resume", func() error { return c.Resume(within(t)) }, false},
		{"pause", func() error { return c.Pause(within(t)) }, true},
	} {
		began := time.Now()
		if err := change.call(); err == nil {
			t.Errorf("%s is kept on a frozen file system", change.name)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s, want 2 s", change.name, took)
		}
		began = time.Now()
		if status := s.status(c); status.Paused != change.isPaused || time.Since(began) > time.Second {
			t.Errorf("after %s and %s the service is paused: %t", change.name, time.Since(began), status.Paused)
		}
	}
	thaw()
	kept := journal.NewPause(p.stateDir, s.Path())
	eventually(t, "the pause is kept", func() bool {
		pauses, err := kept.Read()
		return pauses.All != nil && err == nil
	})
	must(t, c.Resume(within(t)))
	s.replace()
	s.upgraded(server)
	s.phase(c, rollout.PhaseComplete)
}
