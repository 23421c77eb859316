// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
)

// FuzzWalkPath compares a walk with the kernel's. Users choose paths and the targets of symbolic links.
func FuzzWalkPath(f *testing.F) {
	f.Add("/a/file", "dir", "/dir/../b", "file")
	f.Add("/dir/../../../dir//./file", "b", "a", "..")
	f.Add("a/a/a", "/a", "b/..", "/")
	f.Add("/dir/file/..", "dir/file", "../../dir", ".")
	f.Fuzz(func(t *testing.T, path, first, second, third string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "dir/file"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, target := range map[string]string{"a": first, "b": second, "dir/c": third} {
			_ = os.Symlink(target, filepath.Join(dir, name)) // not every text is one
		}
		root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(root) }()
		points, walkErr := walkPath(&inspector{root: root}, path)
		for _, p := range points {
			if !strings.HasPrefix(p.path, "/") || strings.Contains(p.path, "/../") {
				t.Errorf("%q is not below the root", p.path)
			}
		}
		if image, regular := kernelStat(root, path); regular && walkErr == nil && !endsAt(points, image) {
			t.Errorf("the kernel resolves to %v, the walk does not: %v", image, points)
		}
	})
}

// kernelStat returns the regular file to which the kernel resolves a path.
func kernelStat(root int, path string) (unix.Statx_t, bool) {
	var s unix.Statx_t
	if strings.ContainsRune(path, 0) || strings.HasSuffix(path, "/") {
		return s, false
	}
	fd, err := openBelow(root, path, 0, 0)
	if err != nil {
		return s, false
	}
	defer func() { _ = unix.Close(fd) }()
	s, err = statx(fd)
	return s, err == nil && s.Mode&unix.S_IFMT == unix.S_IFREG
}

func endsAt(points []*watchPoint, s unix.Statx_t) bool {
	for _, p := range points {
		if p.isEnd && p.image == reach.FileOf(&s).Image {
			return true
		}
	}
	return false
}
