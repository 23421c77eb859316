// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// env(1) execs through execvp(3), as servers do. What the C library then does depends on the library of each server.
func TestCheck_NoShebang_SaysWhatRunsIt(t *testing.T) {
	t.Parallel()
	path := put(t, filepath.Join(t.TempDir(), "text"), []byte("exit 3\n"))
	requireUnready(t, Check(RootedPath{Path: path}), "only some C libraries run it, with /bin/sh")
	if err := exec.Command(path).Run(); !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("execve: %v, want %v", err, unix.ENOEXEC)
	}
	cmd := exec.Command("env", path)
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("execvp: %s, want 3 from the shell", cmd.ProcessState)
	}
}

// This kernel runs the file. The reason must not say that the machine does not.
func TestCheck_NarrowELF_SaysWhichAreUpgraded(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("has the code of another architecture")
	}
	p := program{machine: machines["386"], kind: elf.ET_EXEC, code: 1}
	content := append(p.bytes(), 0xb8, 1, 0, 0, 0, 0xbb, 3, 0, 0, 0, 0xcd, 0x80) // exit(3)
	content[len(content)-13] = 0x90                                              // nop
	binary.LittleEndian.PutUint32(content[52+16:], uint32(len(content)))         // the segment's size in the file
	binary.LittleEndian.PutUint32(content[52+20:], uint32(len(content)))         // and in memory
	path := put(t, filepath.Join(t.TempDir(), "narrow"), content)
	requireUnready(t, Check(RootedPath{Path: path}), "is an ELF for 386, this build upgrades servers for amd64 only")
	cmd := exec.Command(path)
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("an exec: %s, want 3: the kernel runs no 386 program", cmd.ProcessState)
	}
}

// Each file is also exec'd as the user.
func TestPrograms_ClosedToUser_AreUnreadyForUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	noexec := mkdir(t, dir, "noexec")
	must(t, unix.Mount("noexec", noexec, "tmpfs", unix.MS_NOEXEC, ""))
	t.Cleanup(func() { _ = unix.Unmount(noexec, unix.MNT_DETACH) })
	shell, err := os.ReadFile("/bin/sh")
	must(t, err)
	put(t, filepath.Join(dir, "open"), shell)
	put(t, filepath.Join(noexec, "mount"), shell)
	putMode(t, filepath.Join(dir, "private"), shell, 0o700)
	putMode(t, filepath.Join(dir, "unreadable"), shell, 0o711)
	script := func(name string) string {
		return put(t, filepath.Join(dir, name+".sh"), []byte("#!"+filepath.Join(dir, name)+"\nexit 3\n"))
	}
	binary := func(name string) string {
		return put(t, filepath.Join(dir, name+".bin"), dynamic(put(t, filepath.Join(dir, name), static().bytes())).bytes())
	}
	mapped := put(t, filepath.Join(noexec, "loader"), static().bytes())
	private := binary("private-loader")
	must(t, os.Chmod(filepath.Join(dir, "private-loader"), 0o700))
	closed := script("open")
	must(t, os.Rename(closed, closed+"-closed"))
	closed += "-closed"
	must(t, os.Chmod(closed, 0o711))
	for _, c := range []struct{ path, why string }{
		{script("open"), ""},
		{script("unreadable"), ""},
		{script("private"), "not executable for the server's user"},
		{script("noexec/mount"), "on a file system mounted noexec"},
		{binary("loader"), ""},
		{private, "not executable for the server's user"},
		{put(t, filepath.Join(dir, "mapped"), dynamic(mapped).bytes()), "on a file system mounted noexec"},
		{closed, "a script that the server's user may not read"},
	} {
		i := Check(RootedPath{Path: c.path})
		requireReady(t, i)
		s, err := os.Stat(c.path)
		must(t, err)
		p := selector.Process{
			Named: true, Subcommand: true, VariableSet: true, Variable: c.path, Catches: true, Credentials: selector.Credentials{UID: 4001, GID: 4001},
			Target: selector.File{Image: i.Image, Mode: unix.S_IFREG | uint32(s.Mode().Perm())}, Image: selector.Image{Ino: 1},
		}
		got := selector.Rule{Install: i}.Judge(p)
		if (got.Verdict == selector.Outdated) != (c.why == "") || !strings.HasSuffix(got.Detail, c.why) {
			t.Errorf("%s: %s (%s), want %q", c.path, got.Verdict, got.Detail, c.why)
		}
		if lives := execsAs(4001, c.path); lives != (c.why == "") {
			t.Errorf("%s: an exec works: %t, want %t", c.path, lives, c.why == "")
		}
	}
}

// execsAs reports whether a user can exec a script that exits with 3, or an ELF of zeros.
func execsAs(uid uint32, path string) bool {
	cmd := exec.Command(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if cmd.Start() != nil {
		return false
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode() == 3 || !cmd.ProcessState.Exited()
}
