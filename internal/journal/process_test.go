// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// roleVariable makes the test binary one of the processes below. startVariable gives them the start of the test.
const (
	roleVariable  = "JOURNAL_TEST_ROLE"
	startVariable = "JOURNAL_TEST_START"
)

func TestMain(m *testing.M) {
	role, dir, _ := strings.Cut(os.Getenv(roleVariable), "=")
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "writer":
		err = writeForever(dir)
	case "full":
		err = writeToFullDisk(dir)
	}
	fmt.Println("broken:", err)
	if err != nil {
		os.Exit(1)
	}
}

func play(role, dir string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleVariable+"="+role+"="+dir,
		startVariable+"="+strconv.FormatInt(start.UnixNano(), 10))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// writeForever writes into another file which note returned last.
func writeForever(dir string) error {
	f, _, err := journal.Open(filepath.Join(dir, "state"), installPath)
	if err != nil && !errors.Is(err, journal.ErrForeign) {
		return err
	}
	taken, err := os.Create(filepath.Join(dir, "taken"))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%20 == 0 {
			err = f.Save(saved(1, 2, 3))
		} else {
			s := server(selector.PID(10 + n%20))
			s.StartTime = uint64(n)
			err = f.Note(s)
		}
		if err != nil {
			return err
		}
		if _, err := taken.WriteAt(fmt.Appendf(nil, "%20d", n), 0); err != nil {
			return err
		}
	}
}

// TestNote_WriterKilled_IsKept kills a writer at random moments.
func TestNote_WriterKilled_IsKept(t *testing.T) {
	dir := t.TempDir()
	for range 40 {
		must(t, os.RemoveAll(filepath.Join(dir, "taken")))
		c := play("writer", dir)
		must(t, c.Start())
		deadline := time.Now().Add(10 * time.Second)
		for taken(dir) < 0 {
			if time.Now().After(deadline) {
				t.Fatal("the writer has written nothing after 10 s")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(10_000)) * time.Microsecond)
		must(t, c.Process.Kill())
		_ = c.Wait()
		checkLeft(t, dir)
	}
}

func taken(dir string) int {
	n := -1
	if content, err := os.ReadFile(filepath.Join(dir, "taken")); err == nil {
		_, _ = fmt.Sscan(string(content), &n)
	}
	return n
}

// checkLeft requires every note that returned, and allows one more.
func checkLeft(t *testing.T, dir string) {
	t.Helper()
	f, got, err := journal.Open(filepath.Join(dir, "state"), installPath)
	must(t, err)
	defer func() { _ = f.Close() }()
	n := taken(dir)
	after := func(n int) rollout.Snapshots {
		want := saved(1, 2, 3)
		for i := n - n%20 + 1; i <= n; i++ {
			s := server(selector.PID(10 + i%20))
			s.StartTime = uint64(i)
			want.Rollouts[0].Members = append(want.Rollouts[0].Members, s)
		}
		return want
	}
	if got == nil {
		t.Fatalf("nothing was left after write %d", n)
	}
	if len(serversOf(*got)) == len(serversOf(after(n))) {
		check(t, got, after(n))
	} else {
		check(t, got, after(n+1))
	}
}

// writeToFullDisk limits the size of files: the kernel then cuts writes short, as it does on a full disk.
func writeToFullDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(size uint64) error {
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY})
	}
	f, _, err := journal.Open(dir, installPath)
	err = errors.Join(err, limit(100))
	if failed := f.Save(saved(1, 2)); !errors.Is(failed, unix.EFBIG) || !strings.HasPrefix(failed.Error(), `write journal "`) {
		return fmt.Errorf("Save on a full disk: %w", failed)
	}
	if _, got, err := journal.Open(dir, installPath); err != nil || got != nil {
		return fmt.Errorf("on a full disk, where nothing was kept: %+v, %w", got, err)
	}
	err = errors.Join(err, limit(1<<20), f.Save(saved(1, 2)))
	entries, _ := os.ReadDir(dir)
	info, statErr := entries[0].Info()
	if err := errors.Join(err, statErr, limit(uint64(info.Size())+100)); err != nil {
		return err
	}
	for pid := range selector.PID(3) {
		if failed := f.Note(server(pid + 10)); !errors.Is(failed, unix.EFBIG) {
			return fmt.Errorf("Note on a full disk: %w", failed)
		}
	}
	if _, got, err := journal.Open(dir, installPath); err != nil || len(serversOf(*got)) != 2 {
		return fmt.Errorf("on a full disk: %+v, %w", got, err)
	}
	if err := errors.Join(limit(1<<20), f.Flush()); err != nil {
		return err
	}
	if _, got, err := journal.Open(dir, installPath); err != nil || len(serversOf(*got)) != 5 {
		return fmt.Errorf("after Flush: %+v, %w", got, err)
	}
	return f.Note(server(20))
}

func TestNote_DiskFull_IsWrittenLater(t *testing.T) {
	dir := t.TempDir()
	if out, err := play("full", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, got := mustOpen(t, dir)
	check(t, got, saved(1, 2, 10, 11, 12, 20))
}

// TestNote_FileRemoved_WritesNewFile: a cleaner of /tmp may remove it, and no later process would find the line.
func TestNote_FileRemoved_WritesNewFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1)))
	must(t, os.RemoveAll(dir))
	must(t, f.Note(server(2)))
	_, got := mustOpen(t, dir)
	check(t, got, saved(1, 2))
}
