// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

func TestTarget_AnyPath_IsFoundAsByTheProcess(t *testing.T) {
	t.Parallel()
	fs, dir := open(t), t.TempDir()
	bin := filepath.Join(dir, "bin")
	write(t, bin)
	link(t, bin, filepath.Join(dir, "link"))
	link(t, "link", filepath.Join(dir, "chain"))
	link(t, "loop", filepath.Join(dir, "loop"))
	link(t, "nowhere", filepath.Join(dir, "dangling"))
	for value, problem := range map[string]string{
		bin:            "",
		dir + "/link":  "",
		dir + "/chain": "",
		dir + "/../" + filepath.Base(dir) + "/./bin": "",
		"bin":                             "", // counts from the working directory of the process
		"./link":                          "",
		"/../../.." + bin:                 "",
		dir + "/none":                     "no such file or directory",
		dir + "/dangling":                 "no such file or directory",
		dir + "/bin/x":                    "not a directory",
		dir + "/loop":                     "too many levels of symbolic links",
		"/proc/self/exe":                  "too many levels of symbolic links", // a magic link, which is not followed
		dir + "/" + long(300):             "file name too long",
		strings.Repeat("/a", 2047) + "/b": "file name too long",
		strings.Repeat("/a", 2500):        "file name too long",
		"none":                            "no such file or directory",
	} {
		p := inspect(t, fs, server(t, program{dir: dir, env: []string{variable + "=" + value}}))
		if p.TargetProblem != problem || p.Unreadable.Fact != "" {
			t.Errorf("%.80q: problem %q, unreadable %+v, want %q", value, p.TargetProblem, p.Unreadable, problem)
		}
		if problem == "" && p.Target.Image != imageOf(t, bin) {
			t.Errorf("%.80q leads to %s, want %s", value, p.Target.Image, imageOf(t, bin))
		}
		if problem != "" && p.Target != (selector.File{}) {
			t.Errorf("%.80q: target %+v in spite of the problem", value, p.Target)
		}
		if !p.Image.Known() {
			t.Errorf("%.80q: the image was not read", value)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!"), 0o640); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func TestTarget_File_HasModeAndOwner(t *testing.T) {
	t.Parallel()
	fs, dir := open(t), t.TempDir()
	bin := filepath.Join(dir, "bin")
	write(t, bin)
	of := func(path string) selector.File {
		return inspect(t, fs, server(t, program{env: []string{variable + "=" + path}})).Target
	}
	got := of(bin)
	if got.Mode != unix.S_IFREG|0o640 || got.UID != uint32(os.Geteuid()) || got.GID != uint32(os.Getegid()) {
		t.Errorf("%+v, want a regular file, 0640, of this user", got)
	}
	if got := of(dir); got.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("%+v, want a directory", got)
	}
}

func TestTarget_NoexecMount_IsReported(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	for flags, want := range map[uintptr]bool{0: false, unix.MS_NOEXEC: true} {
		dir := t.TempDir()
		if err := unix.Mount("test", dir, "tmpfs", flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		bin := filepath.Join(dir, "bin")
		write(t, bin)
		p := inspect(t, fs, server(t, program{env: []string{variable + "=" + bin}}))
		if p.Target.Image != imageOf(t, bin) || p.Target.NoExec != want {
			t.Errorf("%+v, want noexec %t", p.Target, want)
		}
	}
}

// One path exists in both roots. An absolute link leads out of the root unless it is resolved in it.
func TestTarget_OtherRoot_IsResolvedThere(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs, root := open(t), t.TempDir()
	inside := filepath.Join(root, "bin/sh")
	write(t, inside)
	if err := os.Chmod(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "/bin/sh", filepath.Join(root, "link"))
	link(t, "/..//../bin/sh", filepath.Join(root, "climb"))
	q := query()
	q.Interpreters = []string{"/bin/sh", "/lib/missing.so", "/lib/other.so"}
	for _, value := range []string{"/bin/sh", "/link", "/climb", "/../bin/sh"} {
		r := server(t, program{role: "chroot=" + root, env: []string{variable + "=" + value}})
		p, err := fs.Inspect(r.pid, q)
		if err != nil || p.Target.Image != imageOf(t, inside) {
			t.Errorf("%q leads to %s (%s), %v, want %s", value, p.Target.Image, p.TargetProblem, err, imageOf(t, inside))
		}
		if !strings.HasPrefix(p.InterpreterProblem, `interpreter "/lib/missing.so": `) {
			t.Errorf("the problem is %q", p.InterpreterProblem)
		}
	}
	r := server(t, program{role: "chroot=" + root, env: []string{variable + "=bin/sh"}})
	if p := inspect(t, fs, r); p.Unreadable.Fact != selector.FactTarget || p.Target.Known() {
		t.Errorf("a relative path in another root: %+v, want it to be unreadable", p)
	}
}

func TestInterpreter_OwnRoot_IsNotLookedUp(t *testing.T) {
	t.Parallel()
	q := query()
	q.Interpreters = []string{"/no/such/interpreter"} // the check of the install covers it
	r := server(t, program{env: []string{variable + "=/proc/version"}})
	if p, err := open(t).Inspect(r.pid, q); err != nil || p.InterpreterProblem != "" {
		t.Errorf("the problem is %q, %v", p.InterpreterProblem, err)
	}
}

// A FUSE file system is mounted that has no server.
func TestLookup_SilentFileSystem_TimesOut(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs, dir := open(t), mountSilent(t)
	r := server(t, program{env: []string{variable + "=" + dir + "/rag-rat"}})
	want := selector.Unreadable{Fact: selector.FactTarget, Why: "the file system does not answer", IsTemporary: true}
	for range 2 {
		p := inspect(t, fs, r)
		if p.Unreadable != want {
			t.Errorf("unreadable %+v, want %+v", p.Unreadable, want)
		}
		if p.Image.Known() || p.Credentials.UID != uint32(os.Geteuid()) {
			t.Errorf("later facts were read, or the owner is missing: %+v", p)
		}
	}
}

// mountSilent is a directory on a file system that never answers.
func mountSilent(t *testing.T) string {
	t.Helper()
	return mounted(t, testfleet.MountSilent)
}

func mounted(t *testing.T, mount func(dir string) (release func() error, err error)) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	release, err := mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return dir
}
