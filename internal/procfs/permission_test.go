// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// homeOf is a directory that only a user may search, with a program in it.
func homeOf(t *testing.T, uid int) (home, bin string) {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "proc-test-") // not t.TempDir, which only root may search
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	home = filepath.Join(dir, "home")
	bin = filepath.Join(home, "rag-rat")
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(home, 0o700), os.WriteFile(bin, nil, 0o755), os.Chmod(bin, 0o755), os.Chown(home, uid, uid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return home, bin
}

// publicProgram is a copy of this binary that every user may exec.
func publicProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "proc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	content, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "proc.test")
	syscall.ForkLock.RLock() // a child with the descriptor would make the exec fail
	err = os.WriteFile(path, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func serverOf(t *testing.T, uid uint32, groups []uint32, path string) *running {
	t.Helper()
	return server(t, program{path: publicProgram(t), env: []string{variable + "=" + path}, sys: &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups},
	}})
}

func TestTarget_UserMayNotSearch_IsNotFollowed(t *testing.T) {
	t.Parallel()
	fs := open(t)
	home, bin := homeOf(t, 4001)
	link := filepath.Join(filepath.Dir(home), "link")
	if err := os.Symlink(bin, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bin, link, filepath.Join(home, "absent"), home + "/../home/rag-rat"} {
		p := inspect(t, fs, serverOf(t, 4000, nil, path))
		if want := "uid 4000 may not search " + home; p.TargetProblem != want {
			t.Errorf("%s: the problem is %q, want %q", path, p.TargetProblem, want)
		}
		if p.Target.Known() || p.Path != "" {
			t.Errorf("%s: target %s, path %q", path, p.Target, p.Path)
		}
	}
	for name, r := range map[string]*running{
		"its owner": serverOf(t, 4001, nil, bin), "root": server(t, program{env: []string{variable + "=" + bin}}),
	} {
		if p := inspect(t, fs, r); p.TargetProblem != "" || p.Target.Image != imageOf(t, bin) || p.Path != bin {
			t.Errorf("%s: %+v, want the file", name, p)
		}
	}
}

func TestTarget_GroupMaySearch_IsFollowed(t *testing.T) {
	t.Parallel()
	fs := open(t)
	home, bin := homeOf(t, 4001)
	if err := os.Chmod(home, 0o710); err != nil {
		t.Fatal(err)
	}
	if p := inspect(t, fs, serverOf(t, 4000, []uint32{7, 4001}, bin)); p.Target.Image != imageOf(t, bin) {
		t.Errorf("a member of the group: %+v, want the file", p)
	}
}

// Capabilities in a user namespace count for the ids that are mapped into it.
func TestTarget_UserNamespaceRoot_HasMappedIDs(t *testing.T) {
	t.Parallel()
	fs := open(t)
	_, bin := homeOf(t, 100005)
	for name, c := range map[string]struct {
		first   int
		reaches bool
	}{"mapped": {100000, true}, "not mapped": {200000, false}} {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: c.first, Size: 1000}}
		r := server(t, program{path: publicProgram(t), env: []string{variable + "=" + bin}, sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{},
		}})
		p := inspect(t, fs, r)
		if got := p.Target.Image == imageOf(t, bin); got != c.reaches {
			t.Errorf("%s: the file is found: %t, want %t: %+v", name, got, c.reaches, p)
		}
	}
}

// The server has a root of its own, in which the interpreter was not checked.
func TestInterpreter_UserMayNotExec_SaysWhy(t *testing.T) {
	t.Parallel()
	fs := open(t)
	home, _ := homeOf(t, 4001)
	root := filepath.Dir(home)
	for _, path := range []string{"prog", "interp"} {
		if err := os.WriteFile(filepath.Join(root, path), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	q := query()
	q.Interpreters = []string{"/interp"}
	r := server(t, program{role: "chroot=" + root, env: []string{variable + "=/prog"}})
	for mode, want := range map[os.FileMode]string{0o755: "", 0o644: `interpreter "/interp": not executable`} {
		if err := os.Chmod(filepath.Join(root, "interp"), mode); err != nil {
			t.Fatal(err)
		}
		if p, err := fs.Inspect(r.pid, q); err != nil || p.InterpreterProblem != want {
			t.Errorf("mode %o: the problem is %q, %v, want %q", mode, p.InterpreterProblem, err, want)
		}
	}
}

// The kernel lets only the user of such a mount in, not even root.
func TestPrivateFUSE_Target_SaysWhatHelps(t *testing.T) {
	t.Parallel()
	home, _ := homeOf(t, 4001)
	dir := filepath.Join(home, "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := testfleet.MountPrivate(dir, 4001)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	p := inspect(t, open(t), serverOf(t, 4001, nil, filepath.Join(dir, testfleet.Observed)))
	want := "the FUSE mount " + dir + " admits only its own user: mount it with allow_other, or install elsewhere"
	if p.Unreadable.Fact != selector.FactTarget || p.Unreadable.Why != want {
		t.Errorf("%+v is unreadable, want %q", p.Unreadable, want)
	}
}

// CAP_DAC_OVERRIDE in a user namespace counts for the ids that are mapped into it. The program is also exec'd.
func TestExec_UserNamespaceRoot_AsKernelDecides(t *testing.T) {
	t.Parallel()
	needRoot(t)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 1000}}
	root := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{},
	}
	credentials := inspect(t, open(t), server(t, program{path: publicProgram(t), env: []string{variable + "=/"}, sys: root})).Credentials
	path := publicProgram(t)
	for _, c := range []struct {
		uid  int
		mode os.FileMode
		may  bool
	}{{100005, 0o750, true}, {100005, 0o640, false}, {200000, 0o750, false}} {
		if err := errors.Join(os.Chown(path, c.uid, c.uid), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "-test.run=^$")
		cmd.SysProcAttr = root
		err := cmd.Run()
		why := credentials.WhyNotExec(selector.File{Mode: syscall.S_IFREG | uint32(c.mode), UID: uint32(c.uid), GID: uint32(c.uid)})
		if (err == nil) != c.may || (why == "") != c.may {
			t.Errorf("mode %o of uid %d: exec: %v, and the reason against it is %q; want it to work: %t", c.mode, c.uid, err, why, c.may)
		}
	}
}
