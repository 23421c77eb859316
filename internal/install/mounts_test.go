// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// No other check finds the mounts.
func TestWatch_MountOverPath_IsSeenIn2s(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, over := range map[string]func(path string) string{
		"folder": filepath.Dir,
		"file":   func(path string) string { return path },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, path := installed(t)
			_, other := installed(t)
			w := watchFile(t, path, eventsOnly())
			first := imageOf(t, path)
			awaitReady(t, w, first)
			began := time.Now()
			must(t, unix.Mount(over(other), over(path), "", unix.MS_BIND, ""))
			awaitReady(t, w, imageOf(t, other))
			must(t, unix.Unmount(over(path), 0)) // fails if it is busy
			awaitReady(t, w, first)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("a mount and its end were seen after %s, want 2 s each", took)
			}
		})
	}
}

// A host that mounts without a pause has each path checked once per interval.
func TestMounts_Storm_ChecksOncePerInterval(t *testing.T) {
	t.Parallel()
	needRoot(t)
	calls := make(chan bool, 1000)
	m := newMountWatcher(limits{}, func(selector.View) { calls <- true })
	m.watchOwn()
	dir, began := t.TempDir(), time.Now()
	for range 50 {
		must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
		must(t, unix.Unmount(dir, 0))
	}
	took := time.Since(began)
	eventually(t, "the storm is noticed", func() bool { return len(calls) > 0 })
	m.close()
	if most := 4 + int(took/mountsInterval); len(calls) > most {
		t.Errorf("100 changes within %s are reported %d times, want at most %d", took, len(calls), most)
	}
}

// follows is a path in the root of this process, with its mounts.
func (a *apart) follows(path string) RootedPath {
	p := a.sees(path)
	p.View.Mounts = uint64(a.cmd.Process.Pid) // any number of its own
	p.Mounts = func() (MountList, error) {
		info, err := unix.Open(fmt.Sprintf("/proc/%d/mountinfo", a.cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return MountList{}, errNoProcess
		}
		process, err := unix.PidfdOpen(a.cmd.Process.Pid, 0)
		return MountList{Info: info, Process: process}, err
	}
	return p
}

// countLists counts the watched namespaces.
func countLists(m *mountWatcher) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lists)
}

// watchForeign watches a path of another mount namespace. Mounts in the namespace of this process lead to no check.
func watchForeign(t *testing.T, path RootedPath) *watched {
	t.Helper()
	h := unreadHub(shortSettle, eventsOnly())
	t.Cleanup(h.Close)
	go h.notify.read()
	w := &watched{reports: make(chan selector.Install, 1)}
	w.Watcher = h.Watch(path, w.put)
	return w
}

// No other check finds the mounts.
func TestWatch_MountInOtherNamespace_IsSeenIn2s(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	_, other := installed(t)
	a := newApart(t)
	w := watchForeign(t, a.follows(path))
	first := imageOf(t, path)
	awaitReady(t, w, first)
	began := time.Now()
	for range 2 {
		a.do("mount --bind " + filepath.Dir(other) + " " + filepath.Dir(path))
		awaitReady(t, w, imageOf(t, other))
		a.do("umount " + filepath.Dir(path)) // fails if it is busy
		awaitReady(t, w, first)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("two mounts and their ends were seen after %s, want 2 s each", took)
	}
}

// An open list would keep the namespace, and with it the mount: no event would come.
func TestMounts_LastProcessGone_AreFreed(t *testing.T) {
	t.Parallel()
	source, dir := put(t, filepath.Join(t.TempDir(), "prog"), static().bytes()), t.TempDir()
	path := filepath.Join(dir, "prog")
	a := newApart(t)
	w := watchForeign(t, a.follows(path))
	awaitState(t, w, selector.StateMissing, "")
	a.do("mount -t tmpfs tmpfs " + dir + " && cp " + source + " " + path)
	awaitState(t, w, selector.StateReady, "") // no check is left but that of the end of the process
	if n := countLists(w.hub.mounts); n != 1 {
		t.Fatalf("%d namespaces are watched, want 1", n)
	}
	a.end()
	awaitState(t, w, selector.StateMissing, errNoProcess.Error())
	eventually(t, "no watch is left", func() bool { return w.hub.Stats().Watches == 0 })
	if n := countLists(w.hub.mounts); n != 0 {
		t.Errorf("%d namespaces are watched, want none", n)
	}
}

// A namespace beyond a limit has the check each 30 s. Pipes stand for the descriptors, so that their ends can be told.
func TestMounts_ManyNamespaces_LeaveOthersTheirs(t *testing.T) {
	t.Parallel()
	m := newMountWatcher(limits{user: 3, all: 5}, func(selector.View) {})
	var all []RootedPath
	var opened []*os.File
	for n := range uint64(15) {
		p := RootedPath{Owner: selector.User{UID: uint32(n / 5)}, View: selector.View{Mounts: n + 1}, Mounts: func() (MountList, error) {
			var l MountList
			for _, fd := range []*int{&l.Info, &l.Process} {
				var ends [2]int
				must(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
				*fd = ends[0]
				opened = append(opened, os.NewFile(uintptr(ends[1]), "pipe"))
			}
			return l, nil
		}}
		m.retain(p)
		m.follow(p)
		m.follow(p) // is open
		all = append(all, p)
	}
	first, second := selector.User{UID: 0}, selector.User{UID: 1}
	if countLists(m) != 5 || m.perUser[first] != 3 || m.perUser[second] != 2 || len(opened) != 10 {
		t.Errorf("%d namespaces with %d descriptors are watched, by user %v, want 3 and 2 of the first users", countLists(m), len(opened), m.perUser)
	}
	for _, p := range all {
		m.release(p)
	}
	if countLists(m) != 0 || len(m.perUser) != 0 || len(m.paths) != 0 {
		t.Errorf("%d namespaces are watched without a path, by user %v, for paths %v", countLists(m), m.perUser, m.paths)
	}
	eventually(t, "the descriptors are closed", func() bool {
		for _, f := range opened {
			fds := []unix.PollFd{{Fd: int32(f.Fd())}}
			if _, err := unix.Poll(fds, 0); err != nil || fds[0].Revents&unix.POLLERR == 0 {
				return false
			}
		}
		return true
	})
	for _, f := range opened {
		must(t, f.Close())
	}
}
