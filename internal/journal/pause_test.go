// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
)

func requirePauses(t *testing.T, p journal.Pause, want rollout.Pauses, when string) {
	t.Helper()
	got, err := p.Read()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s Read = %v (-want +got):\n%s", when, err, diff)
	}
}

func TestPause_WriteAndClear_IsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	host, install := journal.NewPause(dir, ""), journal.NewPause(dir, installPath)
	requirePauses(t, host, rollout.Pauses{}, "without a directory")
	must(t, host.Write(rollout.Pauses{}))
	by := rollout.Act{UID: 7, PID: 70, At: time.Unix(1_800_000_000, 5).UTC(), Reason: "new\nbinary \"x\""}
	for _, pauses := range []rollout.Pauses{{All: &by}, {Users: map[uint32]rollout.Act{8: by}}, {All: &by, Users: map[uint32]rollout.Act{8: by}}} {
		must(t, host.Write(pauses))
		requirePauses(t, journal.NewPause(dir, ""), pauses, "after Write")
		requirePauses(t, install, rollout.Pauses{}, "of another service")
	}
	if text, err := os.ReadFile(theFile(t, dir)); err != nil || !strings.Contains(string(text), "ebpf-upgrader resume") {
		t.Errorf("the file says %q, %v", text, err)
	}
	must(t, host.Write(rollout.Pauses{}))
	must(t, host.Write(rollout.Pauses{}))
	requirePauses(t, host, rollout.Pauses{}, "after the reset")
}

// Files of earlier versions have no second line. One that was not written to its end counts as such a file.
func TestPause_WithoutWhatIsPaused_PausesAll(t *testing.T) {
	dir := t.TempDir()
	p := journal.NewPause(dir, "")
	must(t, p.Write(rollout.Pauses{All: &rollout.Act{PID: 1}}))
	path := theFile(t, dir)
	whole, err := os.ReadFile(path)
	must(t, err)
	for size := range len(whole) - 2 {
		must(t, os.WriteFile(path, whole[:size], 0o600))
		got, err := p.Read()
		if got.All == nil || got.All.PID != 0 || err != nil {
			t.Fatalf("with %d bytes Read = %+v, %v, want that all is paused", size, got, err)
		}
		if ago := time.Since(got.All.At); ago < -time.Second || ago > time.Minute {
			t.Errorf("the pause was set %s ago, want just now", ago)
		}
	}
}

func TestPause_Unreadable_CountsAsPaused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	p := journal.NewPause(file, "")
	if got, err := p.Read(); got.All == nil || !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), file) {
		t.Errorf("Read = %+v, %v, want paused, and why", got, err)
	}
	for _, pauses := range []rollout.Pauses{{}, {All: &rollout.Act{}}} {
		if err := p.Write(pauses); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("Write = %v, want why it cannot be kept", err)
		}
	}
}
