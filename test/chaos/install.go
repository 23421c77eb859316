// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/chaos/witness"
	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/testfleet"
)

// fileKind is the kind of file at the path of an install.
type fileKind string

const (
	good      fileKind = "good"
	truncated fileKind = "truncated"
	foreign   fileKind = "of another architecture"
	crashing  fileKind = "crashes at the start"
	partial   fileKind = "half written"
	missing   fileKind = "missing"
)

// install is a path in the variable of some servers.
type install struct {
	dir string
	// linked: the path leads through a symbolic link to one of several versions.
	linked bool
	// view is not nil if the path leads through a mount in that view.
	view           *view
	program, crash string

	mu      sync.Mutex // guards history
	history []change
	version int
	// mounts counts the mounts over the folder of the path.
	mounts int
}

// change is a change of the file. It happened between the two times.
type change struct {
	before, after uint64
	kind          fileKind
}

func newInstall(dir string, linked bool, program, crash string) (*install, error) {
	return (&install{dir: dir, linked: linked, program: program, crash: crash}).make()
}

// make makes the directories and installs a good file.
func (i *install) make() (*install, error) {
	dir := i.dir
	if i.view != nil {
		dir = filepath.Dir(i.path())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return i, i.upgrade()
}

// isApart: the path leads to a folder of each version.
func (i *install) isApart() bool { return i.linked || i.view != nil }

// path returns the path in the servers' variable.
func (i *install) path() string {
	if i.isApart() {
		return filepath.Join(i.dir, "current", testfleet.Name)
	}
	return filepath.Join(i.dir, testfleet.Name)
}

// image returns the current file.
func (i *install) image() (image selector.Image, err error) {
	err = i.view.do(func() (err error) {
		image, err = imageAt(i.path())
		return err
	})
	return image, err
}

func imageAt(path string) (selector.Image, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return selector.Image{Dev: st.Dev, Ino: st.Ino}, err
}

// becomes records a change that do makes in the view.
func (i *install) becomes(what fileKind, do func() error) error {
	before := witness.Now()
	i.mu.Lock()
	i.history = append(i.history, change{before: before, after: ^uint64(0), kind: what})
	n := len(i.history) - 1
	i.mu.Unlock()
	err := i.view.do(do)
	i.mu.Lock()
	i.history[n].after = witness.Now()
	i.mu.Unlock()
	return err
}

// during lists the changes that may have been in force at any time between two times.
func (i *install) during(from, to uint64) []change {
	i.mu.Lock()
	defer i.mu.Unlock()
	var held []change
	for n, c := range i.history {
		end := ^uint64(0)
		if n+1 < len(i.history) {
			end = i.history[n+1].after
		}
		if c.before <= to && from <= end {
			held = append(held, c)
		}
	}
	return held
}

// describe lists the files during a time, with their ages at its end.
func (i *install) describe(from, to uint64) string {
	var parts []string
	for _, c := range i.during(from, to) {
		parts = append(parts, fmt.Sprintf("%s since %s before", c.kind, time.Duration(to-min(c.before, to))))
	}
	return strings.Join(parts, ", ")
}

// replace replaces the file at once, with what put writes.
func (i *install) replace(what fileKind, put func(*testfleet.Install, string) error, source string) error {
	in, err := testfleet.NewInstall(i.staging(), source)
	if err != nil {
		return err
	}
	if err := put(in, source); err != nil {
		return err
	}
	return i.becomes(what, func() error {
		if i.isApart() {
			return i.leadTo(in.Dir())
		}
		return os.Rename(in.Path(), i.path())
	})
}

// keptVersions is the number of old versions that are kept.
const keptVersions = 8

// staging makes an empty directory for the next version.
func (i *install) staging() string {
	i.version++
	dir := func(n int) string { return filepath.Join(i.dir, fmt.Sprintf("v%d", n)) }
	old, _ := filepath.Glob(dir(i.version-keptVersions) + "/*")
	for _, file := range old { // not the folder: a mount over it would go with it
		_ = os.Remove(file)
	}
	_ = os.Mkdir(dir(i.version), 0o755) // an install into a missing directory fails
	return dir(i.version)
}

// leadTo makes the path lead to a version. It must run in the view.
func (i *install) leadTo(dir string) error {
	if i.view != nil {
		i.mounts++
		return bind(dir, filepath.Dir(i.path()))
	}
	link := filepath.Join(i.dir, "current")
	if err := os.Symlink(dir, link+".new"); err != nil {
		return err
	}
	return os.Rename(link+".new", link)
}

// kinds lists the kinds of installs. A weight is a relative frequency.
var kinds = []struct {
	weight int
	name   string
	do     func(*install, context.Context, *rand.Rand) error
}{
	{8, "good", func(i *install, _ context.Context, _ *rand.Rand) error { return i.upgrade() }},
	{2, "truncated", func(i *install, _ context.Context, _ *rand.Rand) error {
		return i.replace(truncated, (*testfleet.Install).ReplaceTruncated, i.program)
	}},
	{2, "of another architecture", func(i *install, _ context.Context, _ *rand.Rand) error {
		return i.replace(foreign, (*testfleet.Install).ReplaceOtherArch, i.program)
	}},
	{2, "crashing at the start", func(i *install, _ context.Context, _ *rand.Rand) error {
		return i.replace(crashing, (*testfleet.Install).Replace, i.crash)
	}},
	{2, "written slowly", (*install).writeSlowly},
	{2, "renamed back and forth", (*install).backAndForth},
	{2, "removed and put back", (*install).takeAway},
	{2, "re-created with the same inode", (*install).recreate},
}

func (i *install) upgrade() error { return i.replace(good, (*testfleet.Install).Replace, i.program) }

// writeSlowly writes a good file in place, piece by piece.
func (i *install) writeSlowly(ctx context.Context, r *rand.Rand) error {
	path := i.path()
	if i.isApart() {
		path = filepath.Join(i.staging(), testfleet.Name)
	}
	content, err := os.ReadFile(i.program)
	if err != nil {
		return err
	}
	var f *os.File
	err = i.becomes(partial, func() (err error) {
		if !i.isApart() {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_CLOEXEC, 0o755); err != nil || !i.isApart() {
			return err
		}
		return i.leadTo(filepath.Dir(path))
	})
	if f == nil {
		return err
	}
	const pieces = 16
	for n := range pieces {
		_, wrote := f.Write(content[len(content)*n/pieces : len(content)*(n+1)/pieces])
		err = errors.Join(err, wrote)
		pause(context.WithoutCancel(ctx), r, 0, 100*time.Millisecond)
	}
	return errors.Join(err, i.becomes(good, f.Close))
}

// backAndForth swaps two good files a random number of times.
func (i *install) backAndForth(ctx context.Context, r *rand.Rand) error {
	dir := i.staging()
	other, err := testfleet.NewInstall(dir, i.program)
	if err != nil {
		return err
	}
	swap := func() error {
		return unix.Renameat2(unix.AT_FDCWD, other.Path(), unix.AT_FDCWD, i.path(), unix.RENAME_EXCHANGE)
	}
	if i.view != nil {
		swap = i.mountBackAndForth(other)
	}
	if i.now() != good {
		if err := i.upgrade(); err != nil {
			return err
		}
	}
	for range 2 + r.IntN(6) {
		if err := i.becomes(good, swap); err != nil {
			return err
		}
		pause(ctx, r, 0, 300*time.Millisecond)
	}
	return nil
}

// takeAway removes the file for a moment.
func (i *install) takeAway(ctx context.Context, r *rand.Rand) error {
	was, path := i.now(), i.path()
	err := i.becomes(missing, func() error { return os.Rename(path, path+".away") })
	pause(context.WithoutCancel(ctx), r, 0, time.Second)
	return errors.Join(err, i.becomes(was, func() error { return os.Rename(path+".away", path) }))
}

// now returns the current kind of file.
func (i *install) now() fileKind {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.history[len(i.history)-1].kind
}

// pause waits for a random time. It reports whether ctx goes on.
func pause(ctx context.Context, r *rand.Rand, least, most time.Duration) bool {
	return poll.Sleep(ctx, least+time.Duration(r.Int64N(int64(most-least)))) == nil
}
