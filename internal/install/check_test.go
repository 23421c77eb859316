// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Check is [Checker.Check] with an empty cache.
func Check(path RootedPath) selector.Install { return NewChecker().Check(path) }

func requireReady(t *testing.T, i selector.Install) {
	t.Helper()
	if i.State != selector.StateReady || i.Detail != "" || !i.Known() {
		t.Errorf("%q is %s (%s), want ready", i.Path, i.State, i.Detail)
	}
}

func requireUnready(t *testing.T, i selector.Install, detail string) {
	t.Helper()
	if i.State != selector.StateUnready || !strings.Contains(i.Detail, detail) {
		t.Errorf("%q is %s (%q), want unready because %q", i.Path, i.State, i.Detail, detail)
	}
}

// scripts makes n scripts: each has the one before as its interpreter, and the first has last.
func scripts(t *testing.T, dir string, n int, last string) string {
	t.Helper()
	for i := range n {
		last = put(t, filepath.Join(dir, fmt.Sprintf("s%d-%d", n, i)), []byte("#!"+last+"\n"))
	}
	return last
}

// Each file is also exec'd. The programs consist of zeros and crash at once, but the exec has succeeded.
func TestCheck_AnyFile_AgreesWithTheKernel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, content string) string { return put(t, filepath.Join(dir, name), []byte(content)) }
	binary := file("static", string(static().bytes()))
	loader := file("loader", string(dynamic("/nowhere").bytes()))
	dyn := file("dynamic", string(dynamic(loader).bytes()))
	short := static().bytes()
	plainMode := filepath.Join(dir, "plain-mode")
	putMode(t, plainMode, static().bytes(), 0o644)
	cases := []struct{ name, path, unready string }{
		{"static", binary, ""},
		{"dynamic, and the interpreter of its loader is ignored", dyn, ""},
		{"script", file("script", "#! \t"+binary+" -x\nexec\n"), ""},
		{"script without a newline", file("no-newline", "#!"+binary), ""},
		{"script of a dynamic program", file("of-dynamic", "#!"+dyn+"\n"), ""},
		{"five scripts", scripts(t, dir, 5, dyn), ""},
		{"six scripts", scripts(t, dir, 6, dyn), "too many nested scripts"},
		{"loop of scripts", file("loop", "#!"+filepath.Join(dir, "loop")+"\n"), "too many nested scripts"},
		{"loader missing", file("no-loader", string(dynamic("/nowhere/ld.so").bytes())), `interpreter "/nowhere/ld.so": no such file`},
		{"loader a directory", file("dir-loader", string(dynamic(dir).bytes())), "is a directory"},
		{"loader a script", file("script-loader", string(dynamic(file("ld", "#!"+binary+"\n")).bytes())), "is not an ELF"},
		{"interpreter missing", file("no-interpreter", "#!/nowhere/sh\n"), `interpreter "/nowhere/sh": no such file`},
		{"interpreter with a carriage return", file("dos", "#!"+binary+"\r\n"), "no such file"},
		{"interpreter not executable", file("plain-interpreter", "#!"+plainMode+"\n"), "is not executable"},
		{"interpreter too long", file("long", "#!/"+strings.Repeat("x", 300)+"\n"), "too long"},
		{"no interpreter", file("none", "#!  \nexit\n"), "names no interpreter"},
		{"not executable", plainMode, "is not executable"},
		{"empty", file("empty", ""), "is empty"},
		{"text", file("text", "echo hello\n"), "neither an ELF nor a script"},
		{"cut in the header", file("cut-header", string(short[:40])), "is truncated"},
		{"cut in the table", file("cut-table", string(short[:100])), "is truncated"},
		{"directory", dir, "is a directory"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			i := Check(RootedPath{Path: c.path})
			cmd := exec.Command(c.path)
			err := cmd.Start()
			if err == nil {
				_ = cmd.Wait()
			}
			if c.unready != "" {
				requireUnready(t, i, c.unready)
			} else {
				requireReady(t, i)
			}
			if (err == nil) != (c.unready == "") {
				t.Errorf("an exec of %q: %v", c.path, err)
			}
		})
	}
}

// The kernel would exec these files, or might under an emulator. The process dies later.
func TestCheck_DiesAfterExec_IsUnready(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := static()
	other.machine = machines["arm64"]
	if runtime.GOARCH == "arm64" {
		other.machine = machines["amd64"]
	}
	narrow := static()
	narrow.machine = machines["386"]
	if runtime.GOARCH == "386" {
		narrow.machine = machines["arm"]
	}
	whole := static().bytes()
	cases := []struct {
		name    string
		content []byte
		unready string
	}{
		{"other-arch", other.bytes(), fmt.Sprintf("is an ELF for %s, this build upgrades servers for %s only", other.machine, runtime.GOARCH)},
		{"32-bit", narrow.bytes(), "is an ELF for"},
		{"cut", whole[:len(whole)-1], fmt.Sprintf("is truncated: a segment is %d bytes at 0, the file %d", len(whole), len(whole)-1)},
		{"relative", []byte("#!sh\n"), "relative path"},
	}
	for _, c := range cases {
		requireUnready(t, Check(RootedPath{Path: put(t, filepath.Join(dir, c.name), c.content)}), c.unready)
	}
}

func TestCheck_ReadyFile_NamesInterpreters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	loader := put(t, filepath.Join(dir, "loader"), static().bytes())
	dyn := put(t, filepath.Join(dir, "dyn"), dynamic(loader).bytes())
	inner := put(t, filepath.Join(dir, "inner"), []byte("#!"+dyn+"\n"))
	outer := put(t, filepath.Join(dir, "outer"), []byte("#!"+inner+"\n"))
	for path, want := range map[string][]string{outer: {inner, dyn, loader}, dyn: {loader}, loader: nil} {
		i := Check(RootedPath{Path: path})
		requireReady(t, i)
		if !slices.Equal(i.Interpreters, want) {
			t.Errorf("%q has interpreters %q, want %q", path, i.Interpreters, want)
		}
		if i.Image != imageOf(t, path) || i.Path != path {
			t.Errorf("%q is %q %s, want what stat says, %s", path, i.Path, i.Image, imageOf(t, path))
		}
	}
}

func TestCheck_RealProgram_IsReady(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	for _, path := range []string{self, "/bin/sh"} {
		requireReady(t, Check(RootedPath{Path: path}))
	}
	// A magic link leads each process to another file.
	requireUnready(t, Check(RootedPath{Path: "/proc/self/exe"}), "too many levels of symbolic links")
}

func TestCheck_NoFile_IsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := put(t, filepath.Join(dir, "file"), static().bytes())
	link := func(name, target string) string {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
		return filepath.Join(dir, name)
	}
	requireUnready(t, Check(RootedPath{Path: link("round", "round")}), "too many levels of symbolic links")
	requireUnready(t, Check(RootedPath{Path: filepath.Join(dir, strings.Repeat("x", 300))}), "file name too long")
	for _, path := range []string{"", dir + "/nothing", dir + "/nothing/below", file + "/", file + "/below", link("dangling", "gone")} {
		if i := Check(RootedPath{Path: path}); i.State != selector.StateMissing || i.Detail == "" || i.Known() {
			t.Errorf("%q is %s (%q), %s; want missing", path, i.State, i.Detail, i.Image)
		}
	}
}

// inotify reports each open, except those with O_PATH.
func TestCheck_SpecialFile_IsNotOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	must(t, unix.Mkfifo(fifo, 0o755))
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer func() { _ = listener.Close() }()
	script := put(t, filepath.Join(dir, "script"), []byte("#!"+fifo+"\n"))
	plainMode := filepath.Join(dir, "plain")
	putMode(t, plainMode, static().bytes(), 0o644)
	opened := func(path string) bool {
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		must(t, err)
		defer func() { _ = unix.Close(fd) }()
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
		must(t, err)
		_ = Check(RootedPath{Path: path})
		_ = Check(RootedPath{Path: script})
		_, err = unix.Read(fd, make([]byte, 4096))
		return err == nil
	}
	for _, path := range []string{fifo, socket, plainMode} {
		if opened(path) {
			t.Errorf("%q was opened", path)
		}
	}
	if !opened(script) {
		t.Error("no event for the open of a script: the test proves nothing")
	}
	for _, path := range []string{fifo, socket, "/dev/null", script} {
		requireUnready(t, Check(RootedPath{Path: path}), "is not a regular file")
	}
}

func TestCheck_Script_ExecutesNothing(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	path := put(t, filepath.Join(t.TempDir(), "script"), []byte("#!/bin/sh\necho > "+trace+"\n"))
	requireReady(t, Check(RootedPath{Path: path}))
	if _, err := os.Stat(trace); err == nil {
		t.Error("the script was executed")
	}
}
