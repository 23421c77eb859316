// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// container has a mount namespace and a PID namespace of its own, and a root that is an overlay over
// the host's.
type container struct {
	t *testing.T
	// init is its first process, if we started that, and pid the number of it.
	init *exec.Cmd
	pid  int
	// root is its root directory, as the host reaches it.
	root string
	// mounts, pids and dir are descriptors of its namespaces and its root.
	mounts, pids, dir *os.File
}

// setUpContainer runs as its first process. $1 is an empty folder, and each further pair of arguments
// a folder of the host with the place where the container sees it.
const setUpContainer = `set -e
at=$1; shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$at/upper",workdir="$at/work" "$at/root"
mount -t proc proc "$at/root/proc"
mount -t tmpfs tmpfs "$at/root/run"
mount --rbind /dev "$at/root/dev"
while [ $# -gt 0 ]; do
	mkdir -p "$at/root$2"
	mount --bind "$1" "$at/root$2"
	shift 2
done
cd "$at/root"
exec chroot . /bin/sh -c 'echo up; read -r line' # until its stdin ends
`

// newContainer starts one that lives until the test ends.
func newContainer(t *testing.T, binds ...string) *container {
	t.Helper()
	needRoot(t)
	at := t.TempDir()
	c := &container{t: t, init: exec.Command("/bin/sh", append([]string{"-c", setUpContainer, "sh", at}, binds...)...)}
	c.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	c.init.Stderr = os.Stderr
	if _, err := c.init.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		t.Fatalf("the container said %q, %v", line, err)
	}
	c.find(c.init.Process.Pid)
	return c
}

// find opens the namespaces and the root of a container by its first process.
func (c *container) find(pid int) {
	c.t.Helper()
	c.pid, c.root = pid, fmt.Sprintf("/proc/%d/root", pid)
	c.mounts, c.pids, c.dir = c.open("ns/mnt", 0), c.open("ns/pid", 0), c.open("root", unix.O_PATH)
}

// podmanRun is what a podman without images, networks and limits of its own can be relied on for.
var podmanRun = []string{"run", "--detach", "--rm", "--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"}

// podman runs where there is no second hierarchy of control groups beside the first: crun takes either, and
// refuses both at once if the second has controllers (libcrun's get_cgroup_mode).
func podman(args ...string) *exec.Cmd {
	const script = `umount -q /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"`
	return exec.Command("unshare", append([]string{"--mount", "--propagation=private", "sh", "-c", script, "sh"}, args...)...)
}

// newPodman is a container of podman's over the host's files, which lives until the test ends. It skips
// the test where there is no podman that works, unless REQUIRE_PODMAN=1 says that there must be one.
func newPodman(t *testing.T) (c *container, id string) {
	t.Helper()
	needRoot(t)
	var messages bytes.Buffer
	cmd := podman(append(podmanRun, "--rootfs", "/:O", "/bin/sh", "-c", "exec sleep infinity")...)
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		gate := t.Skipf
		if os.Getenv("REQUIRE_PODMAN") == "1" {
			gate = t.Fatalf
		}
		gate("needs a podman that can run containers: %v\n%s", err, &messages)
	}
	id = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = podman("kill", id).Run() })
	out, err = podman("inspect", "--format", "{{.State.Pid}}", id).Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	c = &container{t: t}
	c.find(pid)
	return c, id
}

// join moves a process into the control groups of the container, as its runtime does.
func (c *container) join(pid selector.PID) {
	c.t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	joined := 0
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		procs := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(part[1], "name="), part[2], "cgroup.procs")
		if os.WriteFile(procs, []byte(pid.String()), 0) == nil {
			joined++
		}
	}
	if joined == 0 {
		c.t.Fatalf("cannot join any of\n%s", groups)
	}
}

func (c *container) open(name string, flags int) *os.File {
	c.t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", c.pid, name), os.O_RDONLY|flags, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = f.Close() })
	return f
}

// end kills the first process, and the kernel with it all others.
func (c *container) end() {
	_ = c.init.Process.Kill()
	_ = c.init.Wait()
}

// enter brings the calling thread, and what it starts, into the container.
func (c *container) enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, ns := range []*os.File{c.pids, c.mounts} {
		if err := unix.Setns(int(ns.Fd()), 0); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
	}
	if err := unix.Fchdir(int(c.dir.Fd())); err != nil {
		return fmt.Errorf("fchdir: %w", err)
	}
	return unix.Chroot(".")
}

// inside is how the container names a file that the host reaches below its root.
func (c *container) inside(path string) string { return strings.TrimPrefix(path, c.root) }

// install puts a binary into a folder of the container.
func (c *container) install(dir string) *scene {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
		c.t.Fatal(err)
	}
	return sceneIn(c.t, filepath.Join(c.root, dir))
}

// start starts an armed server of an install, inside.
func (c *container) start(s *scene, name string, changes ...func(*testfleet.Options)) *testfleet.Server {
	c.t.Helper()
	return s.start(func(o *testfleet.Options) {
		path := c.inside(s.Path())
		o.Binary, o.UpgradeBin, o.Argv0, o.Enter = path, &path, name, c.enter
		for _, change := range changes {
			change(o)
		}
	})
}

// command is one that runs inside.
func (c *container) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{
		"--target", strconv.Itoa(c.pid), "--mount", "--pid", "--root=" + c.root, "--wd=/",
	}, args...)...)
}

// run runs a command inside, and answers with what it wrote.
func (c *container) run(args ...string) string {
	c.t.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("in the container, %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// serve runs a service inside until the test ends.
func (c *container) serve(args ...string) *service {
	c.t.Helper()
	const dir = "/run/ebpf-upgrader"
	cmd := c.command(append([]string{
		"env", asProgram + "=1", thisBinary(c.t), "run", "--settle", "20ms", "--scan-every", "200ms", "--hold", "200ms",
		"--run-dir", dir, "--socket", dir + "/s", "--state-dir", dir + "/state",
	}, args...)...)
	messages := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = messages, messages
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		c.end() // which ends the service
		_ = cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("the service in the container said:\n%s", messages)
		}
	})
	return &service{socket: c.root + dir + "/s"}
}
