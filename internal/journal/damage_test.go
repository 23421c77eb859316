// SPDX-License-Identifier: MIT

//go:build linux

package journal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// TestOpen_TornFile_UsesWholeLines cuts the file at every byte, or with -short at every seventh.
func TestOpen_TornFile_UsesWholeLines(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1, 2)))
	must(t, f.Note(server(3)))
	must(t, f.Note(server(4)))
	path := theFile(t, dir)
	content, err := os.ReadFile(path)
	must(t, err)
	for n := range len(content) + 1 {
		if testing.Short() && n%7 != 0 {
			continue
		}
		must(t, os.WriteFile(path, content[:n], 0o600))
		_, got := mustOpen(t, dir)
		whole := bytes.Count(content[:n], []byte("\n"))
		if whole < 1 {
			if got != nil {
				t.Fatalf("%d bytes without a header gave %+v", n, got)
			}
			continue
		}
		want := saved()
		want.Rollouts = want.Rollouts[:min(2, whole-1)]
		for pid := 1; pid <= whole-3; pid++ {
			want.Rollouts[0].Members = append(want.Rollouts[0].Members, server(selector.PID(pid)))
		}
		check(t, got, want)
	}
	// A note after a torn one does not begin in the middle of its line.
	must(t, os.WriteFile(path, content[:len(content)-5], 0o600))
	f, _ = mustOpen(t, dir)
	must(t, f.Note(server(5)))
	_, got := mustOpen(t, dir)
	check(t, got, saved(1, 2, 3, 5))
}

func TestOpen_ForeignContent_IsReplaced(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1, 2)))
	path := theFile(t, dir)
	raw, err := os.ReadFile(path)
	must(t, err)
	content := string(raw)
	lines := strings.SplitAfter(content, "\n")
	replace := func(from, to string) string {
		if !strings.Contains(content, from) {
			t.Fatalf("no %q in\n%s", from, content)
		}
		return strings.Replace(content, from, to, 1)
	}
	for name, content := range map[string]string{
		"other version":         replace(`journal":2`, `journal":9`),
		"other version's form":  `{"ebpf_upgrader_journal":4,"more":true}` + "\n",
		"other install":         replace(installPath, "/usr/bin/other"),
		"text":                  "hello\nworld\n",
		"text without an end":   "hello",
		"zeros":                 strings.Repeat("\x00", 4096),
		"garbage in the middle": lines[0] + "garbage\n" + lines[3],
		"half a server":         lines[0] + `{"server":{"pid":1}}` + "\n" + lines[3],
		"a field too many":      replace(`"pid":1,`, `"pid":1,"x":1,`),
		"a field twice":         replace(`"pid":1,`, `"pid":1,"pid":1,`),
		"other case":            replace(`"pid":1,`, `"PID":1,`),
		"unknown state":         replace(`"state":"settling"`, `"state":"settlign"`),
		"unknown verdict":       replace(`"verdict":"up-to-date"`, `"verdict":"fine"`),
		"pid 0":                 replace(`"pid":1,`, `"pid":0,`),
		"negative pid":          replace(`"pid":1,`, `"pid":-1,`),
		"pid of 64 bits":        replace(`"pid":1,`, `"pid":4294967297,`),
		"rollout 0":             replace(`"rollout":{"number":9223372036854775808`, `"rollout":{"number":0`),
		"two in one line":       lines[0] + strings.Replace(lines[3], "}\n", `,"forget":9}`+"\n", 1) + lines[4],
		"two headers":           lines[0] + lines[0] + lines[1],
		"empty line":            lines[0] + "\n" + lines[1],
		"far future":            lines[0] + strings.Replace(lines[3], `"since":`, `"since":9`+strings.Repeat("0", 18-len("9"))+`1`, 1) + lines[4],
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(path, []byte(content), 0o600))
			f, got, err := open(t, dir, installPath)
			if !errors.Is(err, journal.ErrForeign) {
				t.Fatalf("Open gave %+v, %v; want ErrForeign", got, err)
			}
			if got != nil {
				t.Errorf("it gave %+v, want nothing", got)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not name the file", err)
			}
			must(t, f.Save(saved(3)))
			_, got = mustOpen(t, dir)
			check(t, got, saved(3))
		})
	}
}

func TestOpen_OtherBoot_IsIgnored(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved(1)))
	path := theFile(t, dir)
	content, err := os.ReadFile(path)
	must(t, err)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	must(t, err)
	other := bytes.Replace(content, bytes.TrimSpace(boot), []byte("00000000-0000-4000-8000-000000000000"), 1)
	for what, left := range map[string][]byte{
		"file": other, "file of another version": bytes.Replace(other, []byte(`journal":2`), []byte(`journal":9`), 1),
	} {
		must(t, os.WriteFile(path, left, 0o600))
		if _, got := mustOpen(t, dir); got != nil {
			t.Errorf("another boot's %s gave %+v", what, got)
		}
	}
	f, _ = mustOpen(t, dir)
	must(t, f.Note(server(1)))
	_, got := mustOpen(t, dir)
	check(t, got, rollout.Snapshots{}) // and not the other boot's rollouts with it
}

func TestOpen_NotRegularFile_IsForeign(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"pipe":          func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, _ := mustOpen(t, dir)
			must(t, f.Save(saved()))
			path := theFile(t, dir)
			must(t, os.Remove(path))
			must(t, plant(path))
			f, got, err := open(t, dir, installPath)
			if !errors.Is(err, journal.ErrForeign) {
				t.Fatalf("Open gave %+v, %v; want ErrForeign", got, err)
			}
			if got != nil {
				t.Errorf("it gave %+v, want nothing", got)
			}
			must(t, f.Save(saved(1)))
			_, got = mustOpen(t, dir)
			check(t, got, saved(1))
		})
	}
}

// serversOf are the servers of all rollouts.
func serversOf(s rollout.Snapshots) (all []rollout.Member) {
	for _, r := range s.Rollouts {
		all = append(all, r.Members...)
	}
	return all
}

func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	file, _, err := journal.Open(dir, installPath)
	if err == nil {
		err = file.Save(saved(1, 2, 3))
	}
	entries, _ := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		f.Fatal(err, entries)
	}
	name := entries[0].Name()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:len(content)-7])
	f.Add([]byte(""))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"ebpf_upgrader_journal":2}` + "\n"))
	f.Add(bytes.Replace(content, []byte(`"since":`), []byte(`"since":-`), 1))
	f.Add(bytes.ReplaceAll(content, []byte(`{"server":{`), []byte(`{"server":null,"rollout":{`)))
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		file, got, err := journal.Open(dir, installPath)
		if err != nil && (got != nil || !errors.Is(err, journal.ErrForeign)) {
			t.Fatalf("Open gave %+v, %v", got, err)
		}
		if err != nil || got == nil {
			return
		}
		for _, s := range serversOf(*got) {
			if s.PID <= 0 || s.Verdict.String() == "" || s.State < rollout.Signalled || s.State > rollout.GaveUp {
				t.Fatalf("half a server: %+v", s)
			}
		}
		if err := file.Save(*got); err != nil {
			t.Fatal(err)
		}
		again, loaded, err := journal.Open(dir, installPath)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, loaded, same); diff != "" {
			t.Fatalf("saved again, it differs:\n%s", diff)
		}
		_, _ = file.Close(), again.Close()
	})
}

// TestOpen_EarlierVersion_IsRead has the lines of a version that kept less.
func TestOpen_EarlierVersion_IsRead(t *testing.T) {
	dir := t.TempDir()
	f, _ := mustOpen(t, dir)
	must(t, f.Save(saved()))
	path := theFile(t, dir)
	written, err := os.ReadFile(path)
	must(t, err)
	header, _, _ := strings.Cut(string(written), "\n")
	content := header + "\n" +
		`{"rollout":{"number":4,"started":null,"install":{"path":"/bin/rag-rat","dev":1,"ino":2,"size":3,"modified":null,"born":null,"changed":null,"script":false,"state":"ready","detail":"","interpreters":null},"users":[{"uid":7,"deaths":1,"halted":true,"why":"server 12 died: exit code 1","proven":false,"failed":true}],"open":null,"foreign":null}}` + "\n" +
		`{"server":{"pid":12,"start_time":5,"uid":7,"rollout":4,"state":"signalled","since":null,"verdict":"outdated","detail":"","attempts":1,"signalled_at":null,"armed_at":null,"by_other":false,"sender":0,"canary":true,"group":{"user":7,"view":{"mounts":1,"root":{"dev":1,"ino":2}},"data_dir":""},"ran":{"dev":1,"ino":1},"carried":false}}` + "\n"
	must(t, os.WriteFile(path, []byte(content), 0o600))
	_, got := mustOpen(t, dir)
	if got == nil || len(got.Rollouts) != 1 || len(got.Rollouts[0].Users) != 1 || len(got.Rollouts[0].Members) != 1 {
		t.Fatalf("Open gave %+v, want a rollout with a user and a server", got)
	}
	if u := got.Rollouts[0].Users[0]; !u.IsHalted || u.UID != 7 || u.Abandoned != nil {
		t.Errorf("the user is %+v, want it halted", u)
	}
}
