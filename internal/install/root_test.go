// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("REQUIRE_BPF") == "1":
		t.Fatal("needs root")
	default:
		t.Skip("needs root")
	}
}

// below is a path from a directory as the root.
func below(dir, path string) RootedPath {
	return RootedPath{Path: path, Root: func() (int, error) {
		return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}}
}

// The links lead to any place, also within the root.
func TestRoot_AnyLink_IsNotLeft(t *testing.T) {
	t.Parallel()
	outside := put(t, filepath.Join(t.TempDir(), "outside"), static().bytes())
	root := t.TempDir()
	bin := mkdir(t, root, "usr", "bin")
	inside := put(t, filepath.Join(bin, "prog"), static().bytes())
	put(t, filepath.Join(bin, "script"), []byte("#!/usr/bin/prog\n"))
	put(t, filepath.Join(bin, "strayed"), []byte("#!"+outside+"\n"))
	for name, target := range map[string]string{
		"abs": "/usr/bin/prog", "up": "../../../../../../usr/bin/prog", "host": outside,
		"climb": strings.Repeat("../", 20) + outside, "magic": "/proc/self/exe",
	} {
		must(t, os.Symlink(target, filepath.Join(bin, name)))
	}
	for _, name := range []string{"prog", "abs", "up", "script"} {
		i := Check(below(root, "/usr/bin/"+name))
		requireReady(t, i)
		if name != "script" && i.Image != imageOf(t, inside) {
			t.Errorf("%s is %s, want the one inside", name, i.Image)
		}
	}
	for _, name := range []string{"host", "climb", "magic", "../../" + outside} {
		if i := Check(below(root, "/usr/bin/"+name)); i.State != selector.StateMissing {
			t.Errorf("%s leads to %+v, want nothing", name, i)
		}
	}
	requireUnready(t, Check(below(root, "/usr/bin/strayed")), `interpreter "`+outside+`": no such file or directory`)
	for _, name := range []string{"abs", "up", "script"} {
		w := watchPath(t, shortSettle, eventsOnly(), below(root, "/usr/bin/"+name))
		awaitState(t, w, selector.StateReady, "")
		must(t, os.Chmod(inside, 0o755))
	}
	w := watchPath(t, shortSettle, eventsOnly(), below(root, "/usr/bin/abs"))
	awaitReady(t, w, imageOf(t, inside))
	awaitReady(t, w, replace(t, inside, static().bytes()))
}

// apart is a process with a mount namespace of its own, in which a script has run.
type apart struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *bufio.Reader
}

// newApart starts a shell that runs commands from its stdin.
func newApart(t *testing.T) *apart {
	t.Helper()
	needRoot(t)
	a := &apart{t: t, cmd: exec.Command("/bin/sh")}
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	a.cmd.Stderr = os.Stderr
	read, write, err := os.Pipe()
	must(t, err)
	a.cmd.Stdin, a.stdin = read, write
	stdout, err := a.cmd.StdoutPipe()
	must(t, err)
	a.stdout = bufio.NewReader(stdout)
	must(t, a.cmd.Start())
	must(t, read.Close())
	t.Cleanup(a.end)
	a.do("mount --make-rprivate /")
	return a
}

// do runs a command, which must succeed.
func (a *apart) do(command string) {
	a.t.Helper()
	_, err := fmt.Fprintf(a.stdin, "%s; echo $?\n", command)
	must(a.t, err)
	if status, err := a.stdout.ReadString('\n'); err != nil || status != "0\n" {
		a.t.Fatalf("%s: exit status %q, %v", command, status, err)
	}
}

func (a *apart) end() {
	_ = a.stdin.Close()
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

var errNoProcess = errors.New("no process has this root")

// sees is a path in the root of this process while the process lives.
func (a *apart) sees(path string) RootedPath {
	return RootedPath{Path: path, Root: func() (int, error) {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", a.cmd.Process.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, errNoProcess
		}
		return fd, nil
	}}
}

// The mount is in a mount namespace that this process is not in.
func TestWatch_Mount_CanBeUnmounted(t *testing.T) {
	t.Parallel()
	source, dir := put(t, filepath.Join(t.TempDir(), "prog"), static().bytes()), t.TempDir()
	path := filepath.Join(dir, "prog")
	a := newApart(t)
	a.do("mount -t tmpfs tmpfs " + dir + " && cp " + source + " " + path)
	w := watchPath(t, shortSettle, eventsOnly(), a.sees(path))
	awaitState(t, w, selector.StateReady, "")
	if i := Check(RootedPath{Path: path}); i.State != selector.StateMissing {
		t.Fatalf("also visible here (%+v): the test proves nothing", i)
	}
	a.do("cp " + source + " " + path + ".new && mv " + path + ".new " + path)
	image := Check(a.sees(path)).Image
	awaitReady(t, w, image)
	a.do("umount " + dir)
	awaitState(t, w, selector.StateMissing, "no such file or directory")
}

// The mount makes no event. A later change in the directory that it shows makes one.
func TestResync_MountOverDirectory_IsWatched(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(t *testing.T, path, other string){
		"with another file in it": func(t *testing.T, _, other string) { put(t, other, static().bytes()) },
		"with the same":           func(t *testing.T, path, other string) { must(t, os.Link(path, other)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, path := installed(t)
			other := filepath.Join(mkdir(t, root, "other"), "prog")
			fill(t, path, other)
			a := newApart(t)
			q := newManual(t, a.sees(path))
			tellingAll := func(act func(time.Time)) {
				now := time.Now()
				q.now(func(w *Watcher) { act(now); w.handleTimer(now.Add(shortSettle)) })
			}
			tellingAll(q.start)
			a.do("mount --bind " + filepath.Dir(other) + " " + filepath.Dir(path))
			tellingAll(q.resync)
			if image := imageOf(t, other); q.reported.State != selector.StateReady || q.reported.Image != image {
				t.Errorf("with the mount: reported %+v, want %s", q.reported, image)
			}
			q.drain()
			image := moveInto(t, other)
			if !q.drain() {
				t.Fatal("a change in the mounted directory caused no wake-up")
			}
			if tellingAll(q.handleEvents); q.reported.Image != image {
				t.Errorf("after the change: reported %+v, want %s", q.reported, image)
			}
		})
	}
}

// The watches are in the directory below the mount.
func TestResync_ChangeBelowMount_IsReported(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root, path := installed(t)
	other := filepath.Join(mkdir(t, root, "other"), "prog")
	must(t, os.Link(path, other))
	a := newApart(t)
	w := watchPath(t, shortSettle, intervals{resync: shortSettle, retry: never}, a.sees(path))
	awaitReady(t, w, imageOf(t, path))
	a.do("mount --bind " + filepath.Dir(other) + " " + filepath.Dir(path))
	for range 3 {
		awaitReady(t, w, moveInto(t, other))
	}
}

// moveInto moves the current file away and installs another one. Only the directory has events then; a replaced file would
// have one for its lost link.
func moveInto(t *testing.T, path string) selector.Image {
	t.Helper()
	must(t, os.Rename(path, path+".old"))
	return replace(t, path, static().bytes())
}

// The last process with the root has ended, and its mounts with it.
func TestRoot_LastProcessGone_IsMissing(t *testing.T) {
	t.Parallel()
	source, dir := put(t, filepath.Join(t.TempDir(), "prog"), static().bytes()), t.TempDir()
	path := filepath.Join(dir, "prog")
	a := newApart(t)
	a.do("mount -t tmpfs tmpfs " + dir + " && cp " + source + " " + path)
	w := watchPath(t, shortSettle, eventsOnly(), a.sees(path))
	awaitState(t, w, selector.StateReady, "")
	a.end()
	awaitState(t, w, selector.StateMissing, errNoProcess.Error())
	eventually(t, "no watch is left", func() bool { return w.hub.Stats().Watches == 0 })
}

// On overlayfs, a touch of a file in a lower layer copies it up, and the path gets another inode on another file system. The
// image of a running process changes with it, so no server becomes outdated. docs/ARCHITECTURE.md lists the other variants.
func TestOverlay_CopyUp_KeepsTheImage(t *testing.T) {
	t.Parallel()
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	at := t.TempDir()
	a := newApart(t)
	a.do("mount -t tmpfs tmpfs " + at + " && cd " + at + " && mkdir upper work merged lower && cp " + sleep + " lower/prog")
	a.do("mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged")
	a.do("cd merged; ./prog 1000 & echo $! >" + at + "/pid; true")
	w := watchPath(t, shortSettle, eventsOnly(), a.sees(at+"/merged/prog"))
	awaitState(t, w, selector.StateReady, "")
	agree := func() {
		t.Helper()
		a.do(`[ "$(stat -Lc %d:%i /proc/$(cat ` + at + `/pid)/exe)" = "$(stat -Lc %d:%i ` + at + `/merged/prog)" ]`)
	}
	agree()
	a.do("touch " + at + "/merged/prog && [ -e " + at + "/upper/prog ]")
	agree()
	a.do("kill $(cat " + at + "/pid)")
}
