// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

// reports are the errors that a store reports.
type reports struct {
	mu  sync.Mutex
	all []error
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, err)
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func opened(t *testing.T, dir string) (*Store, []Entry, *reports) {
	t.Helper()
	r := &reports{}
	s, entries := Open(Config{Dir: dir, Name: "test", Most: 1 << 20, Report: r.add})
	return s, entries, r
}

func number(n uint64, user int64) Entry {
	return Entry{Number: n, User: user, Text: fmt.Appendf(nil, `{"is":%d}`, n)}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within %s: not %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore_Reopened_HasItsEntries(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s, entries, r := opened(t, dir)
	if len(entries) != 0 {
		t.Errorf("a new store has %d entries", len(entries))
	}
	for n := range uint64(5) {
		s.Append(number(n+1, 1000))
	}
	s.Append(Entry{Number: 3, User: NoUser, Text: []byte(`{"is":"new"}`)})
	s.Close(patience)
	_, entries, _ = opened(t, dir)
	if len(entries) != 5 || string(entries[2].Text) != `{"is":"new"}` || entries[2].User != NoUser || entries[4].User != 1000 {
		t.Errorf("a reopened store has %v", entries)
	}
	info, err := os.Stat(newPath(dir, "test"))
	must(t, err)
	if info.Mode() != 0o600 || s.Err() != nil || r.count() > 0 {
		t.Errorf("the mode is %v, the error %v, with %d reports", info.Mode(), s.Err(), r.count())
	}
}

// TestStore_UserFloods_KeepsOthers: the flood is 16 times what the files take.
func TestStore_UserFloods_KeepsOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, _ := opened(t, dir)
	n := uint64(0)
	for range 100 {
		n++
		s.Append(number(n, 1001))
	}
	long := strings.Repeat("x", 8000)
	for range 40 {
		s.mu.Lock()
		s.allowances = allowances{} // this test is about the room
		s.mu.Unlock()
		for range 100 {
			n++
			s.Append(Entry{Number: n, User: 1000, Text: fmt.Appendf(nil, `{"is":%q}`, long)})
		}
		eventually(t, "written", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.pending) == 0
		})
	}
	s.Close(patience)
	_, entries, _ := opened(t, dir)
	of := make(map[int64]int)
	for _, e := range entries {
		of[e.User]++
	}
	if of[1001] != 100 || of[1000] == 0 || s.Lost() > 0 {
		t.Errorf("%d entries of the other user, want all 100; %d of the one that floods; %d lost", of[1001], of[1000], s.Lost())
	}
	for _, path := range []string{newPath(dir, "test"), oldPath(dir, "test")} {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes (%v), want at most 1 MiB", path, info.Size(), err)
		}
	}
}

func TestStore_UserFloods_IsThrottled(t *testing.T) {
	t.Parallel()
	var a allowances
	now := time.Now()
	added := 0
	for range 10_000 {
		if a.take(1000, minCost, now) {
			added++
		}
	}
	if added != 4096 || !a.take(1001, minCost, now) {
		t.Errorf("a user may add %d at once, want 4096; and another user some", added)
	}
	now = now.Add(time.Minute)
	for a.take(1000, minCost, now) {
		added++
	}
	if added != 4096+600 {
		t.Errorf("a user may add %d in a minute, want 4096 + 600", added)
	}
}

// TestStore_Damaged_ReadsTheRest: half a line at the end, as a crash leaves it, and what is none.
func TestStore_Damaged_ReadsTheRest(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"half a last line": `{"n":3,"user":10`,
		"garbage":          "\x00\x00\x00\n",
		"enormous line":    strings.Repeat("x", 500_000) + "\n",
		"other JSON":       "[1]\n{}\n" + `{"n":7,"user":1,"entry":1}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first, _, _ := opened(t, dir)
			first.Append(number(1, 1000))
			first.Append(number(2, 1000))
			first.Close(patience)
			file, err := os.OpenFile(newPath(dir, "test"), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = file.WriteString(damage)
			must(t, errors.Join(err, file.Close()))
			s, entries, r := opened(t, dir)
			if len(entries) != 2 || r.count() != 1 || s.Err() == nil || !strings.Contains(s.Err().Error(), "damaged") {
				t.Errorf("%d entries, want 2; %d reports, want 1; %v", len(entries), r.count(), s.Err())
			}
			s.Append(number(3, 1000))
			s.Close(patience)
			next, entries, r := opened(t, dir)
			if len(entries) != 3 || r.count() != 0 || next.Err() != nil {
				t.Errorf("after the repair: %d entries, want 3; %v", len(entries), next.Err())
			}
		})
	}
}

// TestStore_NotOurs_IsNamedOnce: it follows no link, and goes on once the file is gone.
func TestStore_NotOurs_IsNamedOnce(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink("/dev/null", path) },
		"FIFO":          func(path string) error { return unix.Mkfifo(path, 0o600) },
		"folder":        func(path string) error { return os.Mkdir(path, 0o700) },
		"other owner": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(`{"n":9,"user":1,"entry":{}}`+"\n"), 0o666), os.Chown(path, 4242, 4242))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "other owner" && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			dir := t.TempDir()
			path := newPath(dir, "test")
			must(t, at(path))
			s, entries, r := opened(t, dir)
			s.Append(number(1, 1000))
			eventually(t, "that it cannot be written is known", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.unwritten != nil
			})
			if len(entries) != 0 || !strings.Contains(s.Err().Error(), path) {
				t.Errorf("%d entries, want none; %v", len(entries), s.Err())
			}
			must(t, os.Remove(path))
			eventually(t, "it is written", func() bool {
				entries, _ := Read(dir, "test", 1<<20)
				return len(entries) == 1
			})
			s.Close(patience)
			if r.count() > 3 {
				t.Errorf("%d reports: %v", r.count(), r.all)
			}
		})
	}
}

// TestStore_DiskFull_GoesOnWithRoom: nothing waits, and what waited is written.
func TestStore_DiskFull_GoesOnWithRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	dir := t.TempDir()
	must(t, unix.Mount("test", dir, "tmpfs", 0, "size=64k,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	s, _, r := opened(t, dir)
	filler := filepath.Join(dir, "filler")
	must(t, os.WriteFile(filler, make([]byte, 56<<10), 0o600))
	began := time.Now()
	for n := range uint64(1000) {
		s.Append(number(n+1, 1000))
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("1000 entries took %s on a full disk", took)
	}
	eventually(t, "the full disk is reported", func() bool { return errors.Is(s.Err(), unix.ENOSPC) })
	must(t, os.Remove(filler))
	eventually(t, "it is written again", func() bool { return s.Err() == nil })
	s.Close(patience)
	entries, err := Read(dir, "test", 1<<20)
	if err != nil || len(entries) != 1000 || r.count() != 2 || s.Lost() != 0 {
		t.Errorf("%d entries, want 1000 (%v); %d reports, want 2; %d lost", len(entries), err, r.count(), s.Lost())
	}
}

func TestStore_ReadOnly_IsReported(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	dir := t.TempDir()
	must(t, unix.Mount("test", dir, "tmpfs", unix.MS_RDONLY, "mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	s, _, r := opened(t, dir)
	s.Append(number(1, 1000))
	eventually(t, "it is reported", func() bool { return errors.Is(s.Err(), unix.EROFS) && r.count() == 1 })
	began := time.Now()
	if s.Close(patience); time.Since(began) > 5*time.Second {
		t.Error("its end waits for the disk")
	}
}

// TestStore_Removed_IsMadeAgain: an operator removes the files while the service runs.
func TestStore_Removed_IsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, _ := opened(t, dir)
	written := func(n uint64) func() bool {
		return func() bool {
			entries, _ := Read(dir, "test", 1<<20)
			return len(entries) == 1 && entries[0].Number == n
		}
	}
	s.Append(number(1, 1000))
	eventually(t, "the first entry is written", written(1))
	must(t, os.Remove(newPath(dir, "test")))
	s.Append(number(2, 1000))
	eventually(t, "the second entry is written", written(2))
	s.Close(patience)
}
