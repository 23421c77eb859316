// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
)

// The path starts at the root of the process, whatever its working directory, and is empty where that is unknown.
func TestPath_AnyVariable_StartsAtTheRoot(t *testing.T) {
	t.Parallel()
	fs, dir := open(t), t.TempDir()
	here, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(here, "gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, value, path string }{
		{here, "/some/where", "/some/where"},
		{here, "bin/rag-rat", here + "/bin/rag-rat"},
		{here, "../x", here + "/../x"},
		{here, "", ""},
		{here, long(4090), ""},
		{gone, "x", ""},
	} {
		r := server(t, program{dir: c.dir, env: []string{variable + "=" + c.value}})
		if c.dir == gone {
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
		}
		p := inspect(t, fs, r)
		if p.Path != c.path || c.value != "" && p.View != fs.View() {
			t.Errorf("%.40q in %q is %.80q in %+v, want %.80q in %+v", c.value, c.dir, p.Path, p.View, c.path, fs.View())
		}
	}
}

// The next process with the PID and the same process with another root are refused.
func TestOpenRoot_OtherProcessOrView_Fails(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs, root := open(t), t.TempDir()
	inside := filepath.Join(root, "bin")
	write(t, inside)
	r := server(t, program{role: "chroot=" + root, env: []string{variable + "=/bin"}})
	p := inspect(t, fs, r)
	if p.View == fs.View() || p.View.Root != imageOf(t, root) || p.Path != "/bin" {
		t.Fatalf("path %q in view %+v", p.Path, p.View)
	}
	fd, err := fs.OpenRoot(p.Identity, p.View)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var s unix.Stat_t
	if err := unix.Fstatat(fd, "bin", &s, 0); err != nil || s.Ino != imageOf(t, inside).Ino {
		t.Errorf("the file below the root is %d, %v", s.Ino, err)
	}
	if fd, err := fs.OpenRoot(p.Identity, fs.View()); err == nil {
		t.Errorf("another root than its own was opened: %d", fd)
	}
	next := p.Identity
	next.StartTime++
	if fd, err := fs.OpenRoot(next, p.View); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("OpenRoot = %d, %v for another process with the PID", fd, err)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = r.Wait()
	if fd, err := fs.OpenRoot(p.Identity, p.View); !errors.Is(err, procfs.ErrGone) {
		t.Errorf("OpenRoot = %d, %v for an ended process", fd, err)
	}
}

// The process counts for the creator of the namespaces, whatever its ids in them.
func TestNamespaces_OwnOnes_AreReported(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs := open(t)
	r := server(t, program{
		env: []string{variable + "=/bin/sh"},
		sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS},
	})
	p := inspect(t, fs, r)
	pids, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", r.pid))
	if err != nil || p.Container != pids && len(p.Container) != 64 || p.Cgroup == "" {
		t.Errorf("container %q, control group %q, %v; want %s", p.Container, p.Cgroup, err, pids)
	}
	if p.View.Mounts == fs.View().Mounts || p.View.Root != fs.View().Root {
		t.Errorf("view %+v, ours is %+v", p.View, fs.View())
	}
}

// In our proc file system, a process of another PID namespace has two numbers.
func TestNewFS_OtherPIDNamespace_IsRefused(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, flags := range map[string]uintptr{"own": 0, "other": unix.CLONE_NEWPID} {
		line := start(t, program{
			role: fmt.Sprintf("inspect=%d", os.Getpid()), sys: &syscall.SysProcAttr{Cloneflags: flags},
		}).line(t)
		if refused := strings.Contains(line, "another PID namespace"); refused != (flags != 0) || refused && !strings.Contains(line, "mount -t proc") {
			t.Errorf("%s PID namespace: %s", name, line)
		}
	}
}

// A user creates a user namespace with a process that has another user id in it.
func TestOwner_UserNamespace_IsItsCreator(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const user, subordinate = 4242, 4300
	namespaceMaker := server(t, program{role: fmt.Sprintf("apart=%d", user)})
	first := namespaceMaker.line(t)
	for _, ids := range []string{"uid_map", "gid_map"} {
		ids = "/proc/" + first + "/" + ids
		if err := os.WriteFile(ids, fmt.Appendf(nil, "0 %d 1\n1 %d 5\n", user, subordinate), 0); err != nil {
			t.Fatal(err)
		}
	}
	enter := []string{"nsenter", "--user", "--target", first, "-S", "1", "-G", "1", publicCopy(t), "mcp"}
	r := server(t, program{path: "/usr/bin/nsenter", args: enter, env: []string{variable + "=/bin/sh"}})
	fs := open(t)
	id, owner, err := fs.User(r.pid)
	if err != nil || owner.UID != user || id.PID != r.pid {
		t.Errorf("process %d of uid %d counts for %d, %v, want %d", r.pid, subordinate, owner.UID, err, user)
	}
	if p := inspect(t, fs, r); p.Credentials.Owner.UID != user || p.Credentials.UID != subordinate {
		t.Errorf("%+v, want owner %d, uid %d", p.Credentials, user, subordinate)
	}
}

// moveTo moves a process into a control group that is made for the test.
func moveTo(t *testing.T, r *running, path string) {
	t.Helper()
	top := "/sys/fs/cgroup/unified"
	if _, err := os.Stat(top); err != nil {
		top = "/sys/fs/cgroup"
	}
	var at unix.Statfs_t
	if unix.Statfs(top, &at) != nil || at.Type != unix.CGROUP2_SUPER_MAGIC || errors.Is(os.MkdirAll(top+path, 0o755), unix.EROFS) {
		t.Skip("no control group can be made here: a container shows a part of them") // the tests on the host do it
	}
	procs := top + path + "/cgroup.procs"
	t.Cleanup(func() {
		_ = os.WriteFile(top+"/cgroup.procs", []byte(r.pid.String()), 0)
		for dir := top + path; dir != top && os.Remove(dir) == nil; {
			dir = filepath.Dir(dir)
		}
	})
	if err := os.WriteFile(procs, []byte(r.pid.String()), 0); err != nil {
		t.Fatal(err)
	}
}

// The limits of a user are those of the container that root made, not of one that the user made.
func TestOwner_GroupMadeByUser_SharesItsLimits(t *testing.T) {
	t.Parallel()
	needRoot(t)
	id := fmt.Sprintf("%064x", os.Getpid())
	r := server(t, program{env: []string{variable + "=/bin/sh"}})
	fs := open(t)
	for _, c := range []struct{ group, container, counts string }{
		{"/docker/" + id, id, id},
		{"/user.slice/user-4000.slice/user@4000.service/libpod-" + id + ".scope/container", id, ""},
	} {
		moveTo(t, r, c.group)
		_, owner, err := fs.User(r.pid)
		if want := (selector.User{Container: c.counts}); err != nil || owner != want {
			t.Errorf("in %s it counts for %+v, %v; want %+v", c.group, owner, err, want)
		}
		if p := inspect(t, fs, r); p.Credentials.Owner != owner || p.Container != c.container {
			t.Errorf("in %s it counts for %+v, in container %q", c.group, p.Credentials.Owner, p.Container)
		}
	}
}
