// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const installPath = "/usr/local/bin/rag-rat"

// of is the number of the rollout of the servers.
const of = 1 << 63

// same compares what was saved with what was loaded. Times may differ a little, because two clocks are not read at once.
var same = cmp.Options{
	cmpopts.IgnoreUnexported(rollout.Member{}), cmpopts.EquateEmpty(), // what is in no line is not compared
	cmpopts.IgnoreFields(rollout.Member{}, "SignalledAfter", "From"),
	cmp.FilterPath(func(p cmp.Path) bool {
		return !slices.Contains([]string{".Modified", ".Born", ".Changed"}, p.Last().String())
	},
		cmpopts.EquateApproxTime(500*time.Millisecond)),
}

// start is a moment that the processes of a test share.
var start = func() time.Time {
	if ns, err := strconv.ParseInt(os.Getenv(startVariable), 10, 64); err == nil {
		return time.Unix(0, ns)
	}
	return time.Now()
}()

// server derives every field from the PID, so that fields of two servers do not pass for one.
func server(pid selector.PID) rollout.Member {
	n := uint64(pid)
	kept := []rollout.State{rollout.Signalled, rollout.Settling, rollout.Upgraded, rollout.TimedOut, rollout.GaveUp}
	return rollout.Member{
		PID: pid, StartTime: n * 100, UID: uint32(n + 1), Rollout: of, State: kept[n%5],
		Since: start.Add(-time.Duration(n) * time.Second), Verdict: selector.Verdict(n%11 + 1),
		Detail: strings.Repeat("é\"<\n\xff", int(n%7)), Attempts: int(n % 4),
		SignalledAt: start.Add(-time.Duration(n) * time.Minute), ByOther: n%2 == 0,
		Sender: pid * 3, Canary: n%3 == 1, ArmedAt: start.Add(-time.Duration(n) * time.Millisecond),
		Group:   rollout.Group{User: uint32(n), View: selector.View{Mounts: n, Root: selector.Image{Dev: n, Ino: 2}}, DataDir: "/d"},
		Ran:     selector.Image{Dev: n, Ino: 1<<63 + n},
		Carried: n%3 == 0, WorkDir: strings.Repeat("/é\xff", int(n%3)),
	}
}

// saved has two rollouts. The servers are in the first; their PIDs tell them apart.
func saved(pids ...selector.PID) rollout.Snapshots {
	install := selector.Install{
		Path: installPath, Image: selector.Image{Dev: 66306, Ino: 1<<64 - 1}, Modified: time.Unix(1<<40, 123456789),
		Size: 1 << 40, Born: time.Unix(1, 2), Changed: time.Unix(3, 4), Script: true,
		State: selector.StateReady, Detail: "a\xfe<b>", Interpreters: []string{"/lib64/ld.so", "/\xff"},
	}
	at, code := time.Unix(1_800_000_000, 7).UTC(), 70
	by := rollout.Act{UID: 1<<32 - 1, PID: 70, At: at, Reason: "<é\n>"}
	deaths := []rollout.ServerDeath{
		{PID: 91, At: at, Detail: "exit code 70", ExitCode: &code, ExecedAt: at.Add(-time.Nanosecond), WorkDir: "/é"},
		{PID: 92, At: at, Detail: "killed", Signal: 9, ByOther: true, Sender: 3},
	}
	s := rollout.Snapshots{Number: 1<<64 - 1, Rollouts: []rollout.Snapshot{
		{
			Number: of, Install: install, Started: start.Add(-time.Hour), Foreign: map[selector.PID]int{0: 1, 42: 3},
			Users:     []rollout.UserSnapshot{{UID: 0, IsProven: true}, {UID: 1<<32 - 1, Deaths: 2, PastDeaths: 3, IsHalted: true, HaltReason: "é", IsFailed: true, HaltedAt: time.Unix(1_800_000_000, 7).UTC(), LatestDeaths: deaths, IsResumed: true, IsAlone: true, Abandoned: &by}},
			Open:      []rollout.Group{{User: 7, DataDir: "/home/é"}},
			Abandoned: &by,
		},
		{Number: of + 1, Install: install},
	}}
	for _, pid := range pids {
		s.Rollouts[0].Members = append(s.Rollouts[0].Members, server(pid))
	}
	return s
}

func open(t *testing.T, dir, path string) (*journal.File, *rollout.Snapshots, error) {
	t.Helper()
	f, got, err := journal.Open(dir, path)
	if f == nil {
		t.Fatalf("Open(%q) gave no File, error %v", path, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, got, err
}

func mustOpen(t *testing.T, dir string) (*journal.File, *rollout.Snapshots) {
	t.Helper()
	f, got, err := open(t, dir, installPath)
	if err != nil {
		t.Fatal(err)
	}
	return f, got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// theFile is the path of the only file in dir.
func theFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%s has %v, %v; want one file", dir, entries, err)
	}
	return filepath.Join(dir, entries[0].Name())
}

func check(t *testing.T, got *rollout.Snapshots, want rollout.Snapshots) {
	t.Helper()
	if diff := cmp.Diff(&want, got, same); diff != "" {
		t.Errorf("loaded other than saved (-saved +loaded):\n%s", diff)
	}
}

func TestSave_AllFields_AreLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f, got := mustOpen(t, dir)
	if got != nil {
		t.Fatalf("a new directory gave %+v", got)
	}
	var all []selector.PID
	for pid := range selector.PID(60) {
		all = append(all, pid+1)
	}
	must(t, f.Save(saved(all...)))
	_, got = mustOpen(t, dir)
	check(t, got, saved(all...))

	for path, want := range map[string]os.FileMode{dir: 0o700, theFile(t, dir): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
	must(t, f.Save(rollout.Snapshots{}))
	_, got = mustOpen(t, dir)
	check(t, got, rollout.Snapshots{})
}

func TestNote_ReplacesAndRemoves(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1, 2, 3, 4, 5, 6)))
	changed := server(2)
	changed.State, changed.Attempts, changed.Carried = rollout.GaveUp, 9, !changed.Carried
	must(t, f.Note(changed))
	must(t, f.Note(server(9)))
	for i, s := range []rollout.State{rollout.Crashed, rollout.Exited, rollout.None, rollout.Skipped, rollout.Pending} {
		gone := server(selector.PID([]int{1, 3, 4, 5, 6}[i]))
		gone.State = s
		must(t, f.Note(gone))
	}
	want := saved(2, 9)
	want.Rollouts[0].Members[0] = changed
	for round := range 3 { // a loaded file can be noted in at once, and stays what it was
		g, got := mustOpen(t, dir)
		check(t, got, want)
		more := server(selector.PID(100 + round))
		must(t, g.Note(more))
		want.Rollouts[0].Members = append(want.Rollouts[0].Members, more)
	}
}

func TestRollout_Several_AreKeptApart(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	want := saved(1)
	want.Number = of + 1 // as nothing was saved as a whole
	for _, r := range want.Rollouts {
		must(t, f.Rollout(r))
	}
	must(t, f.Note(server(1)))
	_, got := mustOpen(t, dir)
	check(t, got, want)

	want.Rollouts[1].Open = []rollout.Group{{User: 9}}
	must(t, f.Rollout(want.Rollouts[1]))
	moved := server(1)
	moved.Rollout = of + 1
	must(t, f.Note(moved))
	must(t, f.Note(server(2)))
	want.Rollouts[0].Members, want.Rollouts[1].Members = []rollout.Member{server(2)}, []rollout.Member{moved}
	_, got = mustOpen(t, dir)
	check(t, got, want)

	must(t, f.Forget(of))
	want.Rollouts = want.Rollouts[1:]
	for range 2 {
		g, got := mustOpen(t, dir)
		check(t, got, want)
		must(t, g.Save(*got))
	}
}

func TestSave_StateNotKept_IsLeftOut(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	s := saved(1, 2)
	s.Rollouts[0].Members[0].State = rollout.Crashed
	must(t, f.Save(s))
	_, got := mustOpen(t, dir)
	check(t, got, saved(2))
}

func TestNote_Many_FileStaysSmall(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1)))
	path, s := theFile(t, dir), server(7)
	var largest int64
	for range 2000 {
		must(t, f.Note(s))
		info, err := os.Stat(path)
		must(t, err)
		largest = max(largest, info.Size())
	}
	must(t, f.Note(server(8)))
	if largest > 80<<10 {
		t.Errorf("the file had %d bytes, with notes of one server", largest)
	}
	_, got := mustOpen(t, dir)
	check(t, got, saved(1, 7, 8))
}

// TestNote_NoRoomToRewrite_Appends: the file system has room for lines, and not for a second file.
func TestNote_NoRoomToRewrite_Appends(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1)))
	path := theFile(t, dir)
	must(t, os.MkdirAll(path+".new/obstacle", 0o700))
	for range 2000 {
		must(t, f.Note(server(7)))
	}
	must(t, os.RemoveAll(path+".new"))
	_, got := mustOpen(t, dir)
	check(t, got, saved(1, 7))
	for range 200 {
		must(t, f.Note(server(8)))
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 80<<10 {
		t.Errorf("with room the file is %+v, %v, want it rewritten", info, err)
	}
	_, got = mustOpen(t, dir)
	check(t, got, saved(1, 7, 8))
}
