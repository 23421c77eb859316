// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/test/testfleet"
)

// No event tells that a server has armed itself. Here that is after the inspections that follow its exec, and after the audit
// that follows the start.
func TestServer_ArmsLate_FoundWithin30s(t *testing.T) {
	takesLong(t)
	needRoot(t)
	t.Parallel()
	s, name := newScene(t), "late"+strconv.Itoa(os.Getpid())
	s.serve("bpf", "--confirm-timeout", "1s", "--name", name)
	path := s.Path()
	server, err := testfleet.Start(within(t), testfleet.Options{
		Binary: path, UpgradeBin: &path, Argv0: name, Behaviour: testfleet.Behaviour{ArmDelay: testfleet.Duration(8 * time.Second)},
	})
	must(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	must(t, server.AwaitGeneration(within(t), 0))
	s.replace()
	must(t, server.AwaitArmed(within(t), 0))
	armed := time.Now()
	s.upgraded(server)
	if took := time.Since(armed); took > 32*time.Second {
		t.Errorf("it was upgraded %s after it was armed, want 30 s at most", took)
	}
}

func TestServer_EachKind_Upgraded(t *testing.T) {
	cases := map[string]struct {
		root   bool
		change func(s *scene, o *testfleet.Options)
	}{
		"exec from a worker thread": {false, func(*scene, *testfleet.Options) {}},
		"exec from the main thread": {false, func(_ *scene, o *testfleet.Options) { o.Behaviour.ExecFromMain = true }},
		"the leader thread exited first": {false, func(_ *scene, o *testfleet.Options) {
			o.Behaviour.LeaderExits = true
		}},
		"of another user": {true, func(_ *scene, o *testfleet.Options) {
			o.Credential = &testfleet.Credential{UID: 4321, GID: 4321}
		}},
		"arguments longer than the kernel program's buffer": {false, func(_ *scene, o *testfleet.Options) {
			o.Args = []string{strings.Repeat("x", 10000), strings.Repeat("y", 100000)}
		}},
		"more arguments than the kernel program looks at": {false, func(_ *scene, o *testfleet.Options) {
			o.Args = slices.Repeat([]string{"x"}, 1000)
		}},
		"argv[0] is an absolute path":  {false, func(s *scene, o *testfleet.Options) { o.Argv0 = s.Path() }},
		"argv[0] has a trailing slash": {false, func(s *scene, o *testfleet.Options) { o.Argv0 = s.Path() + "/" }},
		"argv[0] ends in a dot":        {false, func(_ *scene, o *testfleet.Options) { o.Argv0 = "./rag-rat/." }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.root {
				needRoot(t)
			}
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				s := newScene(t)
				server := s.start(func(o *testfleet.Options) { c.change(s, o) })
				s.replace()
				o, _ := s.trigger(exitOK, source)
				if len(o.Servers) != 1 || o.Servers[0].PID != server.PID() || o.Servers[0].State != rollout.Upgraded {
					t.Errorf("the outcome is %+v, want %d upgraded", o, server.PID())
				}
				s.upgraded(server)
				if n := server.Signals(); n != 1 {
					t.Errorf("%d got %d signals, want 1", server.PID(), n)
				}
			})
		})
	}
}

// TestServer_Daemon_Upgraded waits out the time in which a fork may be about to
// exec something else.
func TestServer_Daemon_Upgraded(t *testing.T) {
	takesLong(t)
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		s.serve(source)
		server := s.start(func(o *testfleet.Options) { o.Behaviour.Daemonise = true })
		s.replace()
		s.upgraded(server)
	})
}

func TestInstall_BeforeStart_Upgrades(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		server := s.start(nil)
		s.replace()
		s.serve(source)
		s.upgraded(server)
	})
}

// TestInstall_DuringStart_Upgrades tries different moments of the start.
func TestInstall_DuringStart_Upgrades(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		for range 5 {
			s := newScene(t)
			server := s.start(nil)
			installed := make(chan error)
			go func() { installed <- s.Replace(serverBinary()) }()
			s.serve(source)
			if err := <-installed; err != nil {
				t.Fatal(err)
			}
			s.upgraded(server)
		}
	})
}

func TestRestart_KilledInRound_AllUpgraded(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		s := newScene(t)
		fleet := make([]*testfleet.Server, 20)
		for i := range fleet {
			fleet[i] = s.start(nil)
		}
		s.replace()
		killed := newService(t)
		killed.start(t, thisBinary(t), append(killed.args(s.Path(), source), "--settle", "1ms"))
		eventually(t, "one server was asked", func() bool {
			return slices.ContainsFunc(fleet, func(s *testfleet.Server) bool { return s.Signals() > 0 })
		})
		killed.kill()
		s.serve(source)
		for _, server := range fleet {
			s.upgraded(server)
		}
	})
}

// TestServer_StartedFromOldFile_Upgraded: the file at the path is new, but a link still
// leads to the old one.
func TestServer_StartedFromOldFile_Upgraded(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		old := filepath.Join(s.Dir(), "old")
		if err := os.Link(s.Path(), old); err != nil {
			t.Fatal(err)
		}
		s.replace()
		s.serve(source)
		s.upgraded(s.start(func(o *testfleet.Options) { o.Binary = old }))
	})
}

func TestServer_StartedFromBindMount_Upgraded(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		bound := filepath.Join(s.Dir(), "bound")
		if err := os.WriteFile(bound, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(s.Path(), bound, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(bound, unix.MNT_DETACH) })
		s.replace()
		s.serve(source)
		s.upgraded(s.start(func(o *testfleet.Options) { o.Binary = bound }))
	})
}

// TestInode_OtherDevice_IsOtherFile: two fresh file systems count from the same
// number.
func TestInode_OtherDevice_IsOtherFile(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		first, second := tmpfs(t), tmpfs(t)
		before, after := sceneIn(t, first), sceneIn(t, second)
		requireSameInode(t, before, after)
		link := filepath.Join(t.TempDir(), "current")
		if err := os.Symlink(first, link); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(link, "rag-rat")
		server := before.start(func(o *testfleet.Options) { o.UpgradeBin = &path })
		swapLink(t, second, link)
		code, stdout, stderr := command(t, "trigger", "--install-path", path, "--source", source, "--settle", "1ms")
		if code != exitOK {
			t.Errorf("trigger: exit code %d\n%s%s", code, stdout, stderr)
		}
		after.upgraded(server)
	})
}

func tmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func requireSameInode(t *testing.T, a, b *scene) {
	t.Helper()
	one, err := a.Image()
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Image()
	if err != nil {
		t.Fatal(err)
	}
	if one.Ino != two.Ino || one.Dev == two.Dev {
		t.Fatalf("the files are %s and %s, want the same inode number on two devices", one, two)
	}
}

// swapLink makes link lead to target by rename, as package managers do.
func swapLink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// TestInstall_MiddleLinkSwapped_Upgrades: bin -> current -> v1, and current is swapped.
func TestInstall_MiddleLinkSwapped_Upgrades(t *testing.T) {
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		top := t.TempDir()
		versions := make(map[string]*scene)
		for _, v := range []string{"v1", "v2"} {
			dir := filepath.Join(top, "versions", v)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			versions[v] = sceneIn(t, dir)
		}
		swapLink(t, "versions/v1", filepath.Join(top, "current"))
		swapLink(t, filepath.Join(top, "current"), filepath.Join(top, "bin"))
		path := filepath.Join(top, "bin", "rag-rat")
		server := versions["v1"].start(func(o *testfleet.Options) { o.UpgradeBin = &path })
		via := &scene{versions["v2"].Install, t}
		serveAt(t, path, source)
		swapLink(t, "versions/v2", filepath.Join(top, "current"))
		via.upgraded(server)
	})
}
