// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

func TestHostile_PathWithoutProgram_HarmsNoOther(t *testing.T) {
	t.Parallel()
	for name, lay := range map[string]func(t *testing.T, dir string) (path string){
		"a device without end": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "zero")
			must(t, unix.Mknod(path, unix.S_IFCHR|0o777, int(unix.Mkdev(1, 5))))
			neverOpened(t, path)
			return path
		},
		"a FIFO": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "fifo")
			must(t, unix.Mkfifo(path, 0o777))
			neverOpened(t, path)
			return path
		},
		"the image of whoever looks":      func(*testing.T, string) string { return "/proc/self/exe" },
		"the device of all zeros":         func(*testing.T, string) string { return "/dev/zero" },
		"a file system without an answer": func(t *testing.T, _ string) string { return mounted(t, testfleet.MountSilent) + "/rag-rat" },
		"a file that cannot be read": func(t *testing.T, _ string) string {
			return filepath.Join(mounted(t, testfleet.MountMute), testfleet.Mute)
		},
		"links in a circle": func(t *testing.T, dir string) string {
			must(t, os.Symlink("b", filepath.Join(dir, "a")))
			must(t, os.Symlink("a", filepath.Join(dir, "b")))
			return filepath.Join(dir, "a")
		},
		"4 KiB":                func(*testing.T, string) string { return "/" + strings.Repeat("a/", 2047) + "b" },
		"more than the kernel": func(*testing.T, string) string { return strings.Repeat("/a", 1<<15) },
		"a folder":             func(_ *testing.T, dir string) string { return dir },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underSiege(t, func(t *testing.T, s *siege) { s.hostileServer(lay(t, s.folder())) })
		})
	}
}

// mounted mounts a file system for as long as the test takes.
func mounted(t *testing.T, mount func(dir string) (release func() error, err error)) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	release, err := mount(dir)
	must(t, err)
	t.Cleanup(func() { must(t, release()) })
	return dir
}

// neverOpened fails the test if the file is opened before the test ends, other than with O_PATH.
func neverOpened(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_ACCESS)
	must(t, err)
	t.Cleanup(func() {
		if n, err := unix.Read(fd, make([]byte, 4<<10)); n > 0 {
			t.Errorf("%s was opened", path)
		} else if !errors.Is(err, unix.EAGAIN) {
			t.Errorf("cannot tell whether %s was opened: %v", path, err)
		}
		must(t, unix.Close(fd))
	})
}

// TestPath_OutOfItsRoot_NotFollowed: neither by "..", nor by links, nor through /proc.
func TestPath_OutOfItsRoot_NotFollowed(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		outside := filepath.Join(newScene(t).Dir(), "secret")
		must(t, os.WriteFile(outside, []byte("#!/bin/sh\n"), 0o755))
		c := newContainer(t)
		own := c.install("/opt")
		link := "/opt/link"
		must(t, os.Symlink("../../../../../.."+outside, filepath.Join(c.root, link)))
		c.run("rm", "-rf", filepath.Dir(outside)) // in the container's copy
		neverOpened(t, outside)
		for _, path := range []string{"/../../../.." + outside, link, "/proc/1/root" + outside, "/proc/self/root/.." + outside} {
			s.untouched = append(s.untouched, own.start(func(o *testfleet.Options) {
				o.Binary, o.UpgradeBin, o.Argv0, o.Enter = c.inside(own.Path()), &path, s.name, c.enter
			}))
		}
	})
}

// TestHostile_HugeFolder_HarmsNoOther: the folder is never listed, so its size does not count.
func TestHostile_HugeFolder_HarmsNoOther(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		install := newScene(t)
		for i := range 10_000 {
			must(t, os.Link(install.Path(), filepath.Join(install.Dir(), strconv.Itoa(i))))
		}
		listed := listings(t, install.Dir())
		server := s.hostileServer(install.Path())
		s.untouched = nil
		t.Cleanup(func() {
			unharmedButForHisOwn(t, server)
			if n := listed(); n != 0 {
				t.Errorf("the folder was listed %d times", n)
			}
			_, err := os.ReadDir(install.Dir())
			must(t, err)
			if listed() == 0 {
				t.Error("a listing of the folder is not noticed: the test proves nothing")
			}
		})
	})
}

// listings returns a function that counts the listings of a folder since its last call.
func listings(t *testing.T, dir string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_ACCESS|unix.IN_ONLYDIR)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	return func() (n int) {
		events := make([]byte, 1<<20)
		got, err := unix.Read(fd, events)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		for at := 0; at < got; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&events[at]))
			if event.Mask&unix.IN_ISDIR != 0 && event.Len == 0 {
				n++
			}
			at += unix.SizeofInotifyEvent + int(event.Len)
		}
		return n
	}
}

// unharmedButForHisOwn allows for signals for the install that the server names.
func unharmedButForHisOwn(t *testing.T, server *testfleet.Server) {
	t.Helper()
	select {
	case <-server.Exited():
		t.Errorf("server %d has ended: %v", server.PID(), server.ExitState())
	default:
	}
}

// TestHostile_ThousandsOfServers_DelayNoOther is not parallel, so that it measures the service.
func TestHostile_ThousandsOfServers_DelayNoOther(t *testing.T) {
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		s := besiege(t, source, func(t *testing.T, s *siege) {
			his := s.home(hostile)
			crowd, err := testfleet.StartCrowd(5000, testfleet.CrowdOptions{
				Dir: his.Dir(), UpgradeBin: his.Path(), Every: 1, Argv0: s.name,
				Credential: &testfleet.Credential{UID: hostile, GID: hostile},
			})
			must(t, err)
			t.Cleanup(func() { must(t, crowd.Stop()) })
		})
		eventually(t, "those over the limit of 5000 are told", func() bool {
			return s.status().Verdicts[selector.OverLimit] == 5000-controller.DefaultMaxPerUser
		})
		if _, stdout, _ := command(t, "status", "--socket", s.socket); !strings.Contains(stdout, selector.OverLimit.String()) {
			t.Errorf("status does not say that some are not looked at:\n%s", stdout)
		}
	})
}

func TestLimit_ServersOverIt_AreShownWithReason(t *testing.T) {
	t.Parallel()
	s, name := newScene(t), "crowded"+strconv.Itoa(os.Getpid())
	for range 3 {
		s.start(func(o *testfleet.Options) { o.Argv0 = name })
	}
	p := s.serve("proc", "--name", name, "--max-per-user", "1")
	var over []selector.PID
	eventually(t, "two are over the limit", func() bool {
		all, err := p.client(t).Servers(within(t))
		must(t, err)
		over = nil
		for _, one := range all {
			if one.Verdict == selector.OverLimit {
				over = append(over, one.PID)
			}
		}
		return len(over) == 2
	})
	const reason = "its user has too many servers (--max-per-user)"
	for _, pid := range over {
		code, said, stderr := command(t, "explain", pid.String(), "--socket", p.socket)
		if code != 0 || !strings.Contains(said, "will not be signalled: "+reason) {
			t.Errorf("explain ends with %d and says\n%s%s", code, said, stderr)
		}
	}
	resyncs, told := 0, 0
	eventually(t, "three resyncs", func() bool {
		resyncs, told = 0, 0
		must(t, p.client(t).Events(within(t), control.EventQuery{}, func(e control.Event) error {
			switch {
			case e.Kind == control.EventRound && e.Reason == api.ReasonScan:
				resyncs++
			case e.Kind == control.EventRefused && strings.Contains(e.Detail, reason):
				told++
			}
			return nil
		}))
		return resyncs >= 3
	})
	if told != 1 {
		t.Errorf("the events have the reason %d times, want once", told)
	}
}

// TestHostile_RewrittenArguments_HarmNoOther: in turns it names its own install and the victim's, and
// is a server and none. Whatever it is asked then, it was ready for.
func TestHostile_RewrittenArguments_HarmNoOther(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		mine := s.home(hostile)
		length := max(len(mine.Path()), len(s.his.Path()))
		s.liar("liar", asLong(mine.Path(), length), asLong(s.his.Path(), length), 0)
		mine.replace()
	})
}

// asLong is the same absolute path, of that length.
func asLong(path string, length int) string { return strings.Repeat("/", length-len(path)) + path }

// TestHostile_ChangedMountView_HarmsNoOther does so without a pause, also between the look at
// it and the signal.
func TestHostile_ChangedMountView_HarmsNoOther(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		mine := s.home(hostile)
		s.liar("wanderer", mine.Path(), "", unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
		mine.replace()
	})
}

// TestHostile_DeathsOnPurpose_HaltTheirUserOnly: those of the hostile user run the victim's install.
func TestHostile_DeathsOnPurpose_HaltTheirUserOnly(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		shared := newScene(t)
		for range 3 {
			shared.start(func(o *testfleet.Options) {
				o.Argv0, o.Credential = h.name, &testfleet.Credential{UID: hostile, GID: hostile}
				o.Behaviour.Later = &testfleet.Behaviour{From: 1, End: &testfleet.End{Code: 1}}
			})
		}
		his := h.start(shared, victim, 5)
		h.serve(source, "--max-failures", "1")
		h.knows(2)
		shared.replace()
		shared.allUpgraded(his)
		askedOnce(t, his)
	})
}
