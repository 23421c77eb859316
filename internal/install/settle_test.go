// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// never is longer than any test.
const never = time.Hour

// settled waits until a file has settled, and checks it.
func settled(ctx context.Context, path string, settle time.Duration) selector.Install {
	WaitSettled(ctx, RootedPath{Path: path}, settle)
	return Check(RootedPath{Path: path})
}

func TestSettle_OldFile_ReturnsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "file"), static().bytes())
	for path, want := range map[string]selector.State{
		"/bin/sh": selector.StateReady, dir: selector.StateUnready, "/dev/null": selector.StateUnready,
		dir + "/nothing": selector.StateMissing, file + "/below": selector.StateMissing,
	} {
		settle := never
		if path == "/bin/sh" {
			settle = 10 * time.Second // it may have been unpacked a moment ago
		}
		start := time.Now()
		i := settled(t.Context(), path, settle)
		if took := time.Since(start); i.State != want || took > 5*time.Second {
			t.Errorf("%q is %s after %s, want %s at once", path, i.State, took, want)
		}
	}
}

func TestSettle_FreshFile_IsWaitedFor(t *testing.T) {
	t.Parallel()
	const settle = 100 * time.Millisecond
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	requireReady(t, settled(t.Context(), path, settle))
	if stood := unchangedFor(t, path); stood < settle {
		t.Errorf("the file was unchanged for %s only", stood)
	}
}

func unchangedFor(t *testing.T, path string) time.Duration {
	t.Helper()
	var s unix.Stat_t
	must(t, unix.Stat(path, &s))
	return time.Since(time.Unix(s.Ctim.Unix()))
}

// Another install follows during the wait.
func TestSettle_SeveralChanges_IsTheLast(t *testing.T) {
	t.Parallel()
	const settle = 200 * time.Millisecond
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	got := make(chan selector.Install)
	go func() { got <- settled(t.Context(), path, settle) }()
	eventually(t, "the file is unchanged for half the settle time", func() bool { return unchangedFor(t, path) > settle/2 })
	image := replace(t, path, static().bytes())
	i := <-got
	requireReady(t, i)
	if stood := unchangedFor(t, path); stood < settle || i.Image != image {
		t.Errorf("returned %s, unchanged for %s, want %s after %s", i.Image, stood, image, settle)
	}
}

func TestSettle_EndlessChanges_IsBounded(t *testing.T) {
	t.Parallel()
	const settle = 50 * time.Millisecond
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	done := make(chan struct{})
	defer close(done)
	go func() {
		for tick := time.NewTicker(settle / 10); ; <-tick.C {
			select {
			case <-done:
				tick.Stop()
				return
			default:
				_ = os.Chmod(path, 0o755)
			}
		}
	}()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testTimeout)
	defer cancel()
	requireReady(t, settled(ctx, path, settle))
	if took := time.Since(start); took > testTimeout {
		t.Errorf("waited for %s, want %s", took, maxSettleFactor*settle)
	}
}

func TestSettle_ContextEnds_Returns(t *testing.T) {
	t.Parallel()
	path := put(t, filepath.Join(t.TempDir(), "file"), static().bytes())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	requireReady(t, settled(ctx, path, never))
}

func TestSettle_FutureTime_WaitsInFull(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for s, want := range map[int64]time.Duration{1100: 5 * time.Second, 1000: 5 * time.Second, 998: 3 * time.Second, 990: -5 * time.Second} {
		if got := (version{Changed: moment{s, 0}}).untilSettled(5*time.Second, now); got != want {
			t.Errorf("changed at %d: %s left at 1000, want %s", s, got, want)
		}
	}
}
