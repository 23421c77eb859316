// SPDX-License-Identifier: MIT

package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

var (
	now      = time.Unix(1000, 0)
	oldImage = selector.Image{Dev: 1, Ino: 10}
	newImage = selector.Image{Dev: 1, Ino: 20}
)

func process(pid selector.PID, path string, user uint32) selector.Process {
	p := selector.Process{
		Identity: selector.Identity{PID: pid, StartTime: uint64(pid)}, Age: time.Hour, Path: path, Image: oldImage,
		Target: selector.File{Image: newImage},
	}
	p.Credentials.Owner.UID = user
	return p
}

// put takes a process in and assigns it, as an inspection does.
func put(r *registry.Registry, p selector.Process, v selector.Verdict) (known *registry.Process, isNew bool, evicted *registry.Install) {
	known = r.Put(api.NewServer(p, selector.Decision{Verdict: v}), p, now)
	to, isNew, evicted := r.Resolve(known, p, now)
	if to != nil {
		r.Assign(known, to, now)
	}
	return known, isNew, evicted
}

func file(path string, image selector.Image) selector.Install {
	return selector.Install{Path: path, Image: image, State: selector.StateReady}
}

func TestRegistry_Process_HasTheInstallItNames(t *testing.T) {
	view := selector.View{Mounts: 7}
	other := process(3, "/a", 1)
	other.View = view
	for _, c := range []struct {
		name    string
		paths   []string
		process selector.Process
		verdict selector.Verdict
		want    registry.Key
		isNew   bool
	}{
		{"its path", nil, process(1, "/a", 1), selector.Outdated, registry.Key{Path: "/a", Owner: selector.User{UID: 1}}, true},
		{"of its user", nil, process(2, "/a", 2), selector.UpToDate, registry.Key{Path: "/a", Owner: selector.User{UID: 2}}, true},
		{"in its view", nil, other, selector.Outdated, registry.Key{Path: "/a", Owner: selector.User{UID: 1}, View: view}, true},
		{"no path", nil, process(4, "", 1), selector.Outdated, registry.Key{}, false},
		{"no server", nil, process(5, "/a", 1), selector.NotOurs, registry.Key{}, false},
		{"the operator's, by its file", []string{"/x", "/y"}, process(6, "/a", 1), selector.Outdated, registry.Key{Path: "/y"}, false},
		{"the operator's, no file", []string{"/x"}, process(7, "", 1), selector.NotArmed, registry.Key{Path: "/x"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := registry.New(registry.Config{Paths: c.paths}, now)
			for n, i := range r.Fixed() { // the last one has the file that servers name
				i.File = file(i.Path, selector.Image{Dev: 1, Ino: uint64(20 + len(c.paths) - 1 - n)})
			}
			known, isNew, _ := put(r, c.process, c.verdict)
			got := registry.Key{}
			if known.Install != nil {
				got = known.Install.Key
			}
			if got != c.want || isNew != c.isNew {
				t.Errorf("install %+v, new: %t; want %+v, %t", got, isNew, c.want, c.isNew)
			}
			if c.want != (registry.Key{}) && known.Install.Len() != 1 {
				t.Errorf("the install has %d processes, want 1", known.Install.Len())
			}
		})
	}
}

func TestRegistry_Fixed_FileReplaced_KeepsInstall(t *testing.T) {
	r := registry.New(registry.Config{Paths: []string{"/x", "/y"}}, now)
	r.Fixed()[0].File, r.Fixed()[1].File = file("/x", oldImage), file("/y", newImage)
	p := process(1, "/a", 1)
	put(r, p, selector.Outdated)
	r.Fixed()[1].File = file("/y", selector.Image{Dev: 1, Ino: 30})
	known, _, _ := put(r, p, selector.Outdated)
	if known.Install != r.Fixed()[1] {
		t.Errorf("the install is %s, want that before", known.Install.Path)
	}
}

func TestRegistry_MaxProcesses_CountsPendingToo(t *testing.T) {
	r := registry.New(registry.Config{MaxProcesses: 3}, now)
	put(r, process(1, "/a", 1), selector.Outdated)
	put(r, process(2, "/a", 1), selector.Outdated)
	for _, c := range []struct {
		user    uint32
		pending int
		want    bool
	}{{1, 0, true}, {1, 1, false}, {2, 2, true}, {2, 3, false}} {
		if got := r.Admits(selector.User{UID: c.user}, c.pending); got != c.want {
			t.Errorf("user %d with %d pending: %t, want %t", c.user, c.pending, got, c.want)
		}
	}
	r.PutOver(selector.Identity{PID: 3, StartTime: 3}, selector.User{UID: 1})
	r.Remove(1, now)
	if !r.Admits(selector.User{UID: 1}, 1) || len(r.Over()) != 1 || !r.HasUser(selector.User{UID: 1}) {
		t.Error("a process that is gone takes room, or one that is not inspected is forgotten")
	}
	put(r, process(3, "/a", 1), selector.Outdated)
	if len(r.Over()) != 0 {
		t.Error("a process that was inspected is still over the limit")
	}
}

func TestRegistry_MaxInstalls_EvictsUnnamed(t *testing.T) {
	r := registry.New(registry.Config{MaxInstalls: 2}, now)
	for pid, path := range []string{"/a", "/b"} {
		p := process(selector.PID(pid+1), path, 1)
		p.Target.Ino += uint64(pid)
		put(r, p, selector.Outdated)
	}
	third := process(3, "/c", 1)
	third.Target.Ino = 30
	known, isNew, evicted := put(r, third, selector.Outdated)
	if isNew || evicted != nil || known.Verdict != selector.OverLimit {
		t.Errorf("a third install: new %t, evicted %v, verdict %s; want it over the limit", isNew, evicted, known.Verdict)
	}
	r.Remove(2, now)
	_, isNew, evicted = put(r, third, selector.Outdated)
	if !isNew || evicted == nil || evicted.Path != "/b" || r.Install(evicted.Key) != nil {
		t.Errorf("new %t, evicted %v; want room by the install that no process names", isNew, evicted)
	}
}

// The views are those of sandboxes. The files of the others differ, or are missing.
func TestRegistry_MaxInstalls_CountsFilesNotViews(t *testing.T) {
	r := registry.New(registry.Config{MaxInstalls: 3}, now)
	pid := selector.PID(0)
	add := func(file uint64, want selector.Verdict) {
		t.Helper()
		pid++
		p := process(pid, "/a", 1)
		p.View = selector.View{Mounts: uint64(pid)}
		p.Target.Image = selector.Image{Ino: file}
		if known, isNew, _ := put(r, p, selector.Outdated); known.Verdict != want || isNew != (want == selector.Outdated) {
			t.Errorf("process %d with file %d is %s, new: %t; want %s", pid, file, known.Verdict, isNew, want)
		}
	}
	for range 10 {
		add(7, selector.Outdated)
	}
	add(8, selector.Outdated)
	add(0, selector.Outdated)
	add(0, selector.OverLimit) // each missing file counts
	add(9, selector.OverLimit)
	add(8, selector.Outdated)
	r.Remove(12, now) // the one without a file makes room
	add(9, selector.Outdated)
	add(10, selector.OverLimit)
	if got := len(slices.Collect(r.Installs())); got != 13 {
		t.Errorf("%d installs, want those of 13 processes", got)
	}
}

func TestRegistry_UnnamedInstall_IsForgottenLater(t *testing.T) {
	for _, c := range []struct {
		name  string
		paths []string
		want  time.Time
	}{{"learned", nil, now.Add(time.Hour)}, {"the operator's", []string{"/a"}, time.Time{}}} {
		t.Run(c.name, func(t *testing.T) {
			r := registry.New(registry.Config{Paths: c.paths, ForgetAfter: time.Hour}, now)
			known, _, _ := put(r, process(1, "/a", 1), selector.Outdated)
			install := known.Install
			if at := r.ForgetAt(install); !at.IsZero() {
				t.Errorf("an install that is named is to be forgotten at %s", at)
			}
			r.Remove(1, now)
			if at := r.ForgetAt(install); !at.Equal(c.want) {
				t.Errorf("forgotten at %s, want %s", at, c.want)
			}
		})
	}
}

func TestRegistry_ReassignedProcess_IsInOneInstall(t *testing.T) {
	r := registry.New(registry.Config{}, now)
	known, _, _ := put(r, process(1, "/a", 1), selector.Outdated)
	first := known.Install
	known, _, _ = put(r, process(1, "/b", 1), selector.Outdated)
	if first.Len() != 0 || known.Install.Path != "/b" || known.Install.Len() != 1 {
		t.Errorf("the first install has %d, the second %d", first.Len(), known.Install.Len())
	}
}

func TestRegistry_Expect_IsWhatWasPlanned(t *testing.T) {
	for _, learned := range []bool{true, false} {
		t.Run(fmt.Sprintf("learned %t", learned), func(t *testing.T) {
			cfg := registry.Config{}
			if !learned {
				cfg.Paths = []string{"/a", "/b"}
			}
			r := registry.New(cfg, now)
			p := process(1, "/a", 1)
			known, _, _ := put(r, p, selector.Outdated)
			known.Install.File, known.Install.ReportedAt = file("/a", newImage), now
			expected := r.Expect(known.Install)
			if got := expected.Of(p); got.State != selector.StateReady || !expected.Since(p).Equal(now) {
				t.Errorf("the install is %+v since %s", got, expected.Since(p))
			}
			known.Install.File = file("/a", oldImage) // the snapshot stays what it was
			if got := expected.Of(p); got.Image != newImage {
				t.Errorf("the snapshot has changed to %+v", got)
			}
			if learned {
				p.Path = "/b"
				if got := expected.Of(p); got.State == selector.StateReady {
					t.Errorf("a process that names another install has %+v", got)
				}
			}
		})
	}
}

func TestRegistry_File_NotOfTargetIsUnready(t *testing.T) {
	r := registry.New(registry.Config{}, now)
	p := process(1, "/a", 1)
	if got := r.File(p); got.State != selector.StateUnready || got.Detail != registry.ReasonUnreported {
		t.Errorf("before its install is known the file is %+v", got)
	}
	known, _, _ := put(r, p, selector.Outdated)
	known.Install.File = file("/a", oldImage)
	if got := r.File(p); got.State != selector.StateUnready || got.Image != newImage {
		t.Errorf("when it would exec another file, that is %+v", got)
	}
	known.Install.File = file("/a", newImage)
	if got := r.File(p); got.State != selector.StateReady {
		t.Errorf("the file is %+v", got)
	}
}
