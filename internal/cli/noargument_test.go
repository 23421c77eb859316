// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// emptyHost makes a PID and a mount namespace a host on which nothing was installed yet.
const emptyHost = `mount -t proc proc /proc &&
for dir in /home /usr/local/bin /var/lib; do mount -t tmpfs -o mode=755 tmpfs $dir || exit; done`

// TestRun_NoArguments_UpgradesWholeHost: three users and a container have their servers and their
// installs, each in another place. The name, the folders and all times are those that the program has by
// itself.
func TestRun_NoArguments_UpgradesWholeHost(t *testing.T) {
	const name = "TestRun_NoArguments_UpgradesWholeHost"
	if os.Getenv("IN_PID_NAMESPACE") != "" {
		runWithoutAnyArgument(t)
		return
	}
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		var env []string
		if source == "proc" { // the other one is what it takes by itself
			env = append(env, "EBPF_UPGRADER_SOURCE=proc")
		}
		inNamespaces(t, name, emptyHost, unix.CLONE_NEWPID, env...)
	})
}

// ownFleet is servers with their install.
type ownFleet struct {
	*scene
	servers []*testfleet.Server
}

func runWithoutAnyArgument(t *testing.T) {
	t.Helper()
	fleets := []ownFleet{
		userFleet(t, 1000, "/home/ana", ".cargo/bin", 4),
		userFleet(t, 1001, "/home/bob", ".cache/agents/1.4.2", 3),
		userFleet(t, 1002, "/usr/local", "bin", 3),
		containerFleet(t, "/usr/local/bin", 3),
	}
	background(t, program("run"))
	h := &wholeHost{&service{socket: filepath.Join("/run", ownFolder, "control.sock")}, t, defaultName}
	_ = h.client(t)
	h.knows(len(fleets))
	for _, f := range fleets {
		f.replace()
	}
	for _, f := range fleets {
		f.allUpgraded(f.servers)
		askedOnce(t, f.servers)
	}
	eventually(t, "all are told as up to date", func() bool { return h.status().Verdicts[selector.UpToDate] == 13 })
	if got := string(h.status().Source); got != cmp.Or(os.Getenv("EBPF_UPGRADER_SOURCE"), "bpf") {
		t.Errorf("the source is %s", got)
	}
	inContainer := 0
	for i, install := range h.status().Installs {
		if install.Container != "" {
			inContainer++
		} else if install.UID < 1000 || install.UID > 1002 {
			t.Errorf("install %d is said to be of uid %d: %+v", i, install.UID, install)
		}
	}
	if inContainer != 1 {
		t.Errorf("%d of 4 installs are said to be in a container, want 1", inContainer)
	}
}

// userFleet starts servers in a folder of a user. A folder below the user's home cannot be read by other users.
func userFleet(t *testing.T, uid uint32, home, dir string, n int) ownFleet {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(home, dir), 0o755))
	f := ownFleet{scene: sceneIn(t, filepath.Join(home, dir))}
	if strings.HasPrefix(home, "/home/") {
		must(t, os.Chown(home, int(uid), int(uid)))
		must(t, os.Chmod(home, 0o700))
	}
	for range n {
		f.servers = append(f.servers, f.start(func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} }))
	}
	return f
}

func containerFleet(t *testing.T, dir string, n int) ownFleet {
	t.Helper()
	c := newContainer(t)
	f := ownFleet{scene: c.install(dir)}
	for range n {
		f.servers = append(f.servers, c.start(f.scene, defaultName))
	}
	return f
}

// program is this program as a process of this user.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}
