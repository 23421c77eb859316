// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// where writes the points below dir as "directory: names", sorted; "" is dir itself.
func where(points []*watchPoint, dir string) string {
	var lines []string
	for _, p := range points {
		below, ok := strings.CutPrefix(p.path, dir)
		if !ok || p.isEnd {
			continue
		}
		line := below + ": " + strings.Join(slices.Sorted(slices.Values(p.names)), " ")
		if p.hasEnd {
			line += " (leaf)"
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(x, y string) int { return strings.Compare(x[:strings.Index(x, ":")], y[:strings.Index(y, ":")]) })
	return strings.Join(lines, "; ")
}

func pointAt(points []*watchPoint, path string) *watchPoint {
	for _, p := range points {
		if p.path == path {
			return p
		}
	}
	return nil
}

// pointsOf walks a path from the root of this process.
func pointsOf(t *testing.T, path string) []*watchPoint {
	t.Helper()
	root, err := (&RootedPath{}).open()
	must(t, err)
	defer func() { must(t, unix.Close(root)) }()
	points, err := walkPath(&inspector{root: root}, path)
	must(t, err)
	return points
}

func TestWalkPath_Links_AreAllPoints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"v1/bin", "v2", "links", "other/deep"} {
		mkdir(t, dir, d)
	}
	put(t, filepath.Join(dir, "v1/bin/prog"), nil)
	for name, target := range map[string]string{
		"current": "v1", "links/abs": dir + "/current/bin", "links/prog": "abs//./prog", "links/up": "../other/deep",
		"links/dangling": "../v2/nothing", "links/round": "round", "other/sibling": "x",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	for path, want := range map[string]string{
		"/v1/bin/prog":      ": ; /v1: ; /v1/bin: prog (leaf)",
		"/v1/bin/prog/":     ": ; /v1: ; /v1/bin: prog (leaf)",
		"/current/bin/prog": ": current; /v1: ; /v1/bin: prog (leaf)",
		"/links/prog":       ": current; /links: abs prog; /v1: ; /v1/bin: prog (leaf)",
		// The path leaves deep again, but deep must exist; x does not exist, and other itself may be removed.
		"/links/up/../sibling":   ": other; /links: up; /other: sibling x (leaf); /other/deep: ",
		"/v1/../current/bin":     ": current; /v1: bin (leaf)",
		"/links/dangling":        ": v2; /links: dangling; /v2: nothing (leaf)",
		"/links/round":           ": ; /links: round",
		"/v2/a/b/c":              ": v2; /v2: a (leaf)",
		"/v1/bin/prog/not/a/dir": ": ; /v1: ; /v1/bin: prog (leaf)",
	} {
		if got := where(pointsOf(t, dir+path), dir); got != want {
			t.Errorf("the points of %s are\n  %q, want\n  %q", path, got, want)
		}
	}
}

func TestWalkPath_TooManyLinks_EndsAsTheKernel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	end := put(t, filepath.Join(dir, "end"), static().bytes())
	last := end
	for i := range 41 { // one more than MAXSYMLINKS of include/linux/namei.h
		link := filepath.Join(dir, "link"+strings.Repeat("x", i))
		must(t, os.Symlink(last, link))
		last = link
		_, err := os.Stat(link)
		if arrived := pointAt(pointsOf(t, link), end) != nil; arrived != (err == nil) {
			t.Errorf("after %d links, the walk arrives: %t; the kernel: %v", i+1, arrived, err)
		}
	}
}

// TestWalkPath_DeniedDirectory_IsTheEnd: nothing below it is looked at, and its mode counts.
func TestWalkPath_DeniedDirectory_IsTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	mkdir(t, dir, "home/bin")
	must(t, os.Chmod(filepath.Join(dir, "home"), 0o700))
	put(t, filepath.Join(dir, "home/bin/prog"), nil)
	root, err := (&RootedPath{}).open()
	must(t, err)
	defer func() { must(t, unix.Close(root)) }()
	s := inspector{root: root, checks: true, users: []selector.Credentials{{UID: 4325}}}
	points, err := walkPath(&s, filepath.Join(dir, "home/bin/prog"))
	must(t, err)
	if got, want := where(points, dir), ": home (leaf)"; got != want {
		t.Errorf("the points are %q, want %q", got, want)
	}
	s.users = nil
	points, err = walkPath(&s, filepath.Join(dir, "home/bin/prog"))
	if must(t, err); len(points) != 1 || points[0].path != "/" {
		t.Errorf("without a known user the points are %q", where(points, ""))
	}
}

func TestWalkPath_File_IsAPoint(t *testing.T) {
	t.Parallel()
	isEnd := put(t, filepath.Join(t.TempDir(), "file"), nil)
	if p := pointAt(pointsOf(t, isEnd), isEnd); p == nil || !p.isEnd {
		t.Errorf("the file at the end is %+v", p)
	}
	if p := pointAt(pointsOf(t, filepath.Dir(isEnd)), filepath.Dir(isEnd)); p != nil {
		t.Errorf("a directory at the end is %+v, want nothing", p)
	}
}
