// SPDX-License-Identifier: MIT

//go:build linux

package reach_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
)

// FuzzFollow compares a walk without users with the kernel's. Users choose paths and the targets of symbolic links.
func FuzzFollow(f *testing.F) {
	f.Add("/a/file", "dir", "/dir/../b", "file")
	f.Add("/dir/../../../dir//./file", "b", "a", "..")
	f.Add("dir/c/", "/a", "b/..", "/")
	f.Add("/dir/file/", "dir/file", "../../dir", ".")
	f.Add("a", "dir/file/", "dir/file/.", "")
	f.Fuzz(func(t *testing.T, path, first, second, third string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "dir/file"), nil, 0o600); err != nil {
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
		if path == "" || strings.ContainsRune(path, 0) || len(path) > 4095 {
			return // no path for the kernel
		}
		want, wantErr := sys.OpenPath(root, path, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS) // again after a race with a rename
		got, err := reach.Follow(reach.From{Root: root}, path, nil)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Follow(%q) = %v, the kernel says %v", path, err, wantErr)
		}
		if err != nil {
			return
		}
		defer func() { _, _ = unix.Close(got), unix.Close(want) }()
		var is, wanted unix.Stat_t
		if err := unix.Fstat(got, &is); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fstat(want, &wanted); err != nil {
			t.Fatal(err)
		}
		if is.Ino != wanted.Ino || is.Dev != wanted.Dev {
			t.Errorf("Follow(%q) leads to inode %d, the kernel to %d", path, is.Ino, wanted.Ino)
		}
	})
}
