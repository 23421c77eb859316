// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// archived is the modification time of all files of a reproducible archive.
func archived() time.Time { return time.Unix(946684800, 0) }

func putArchived(t *testing.T, path string, content []byte) {
	t.Helper()
	put(t, path, content)
	must(t, os.Chtimes(path, archived(), archived()))
}

// recreated unlinks a file and creates another one with the same inode number and modification time.
func recreated(t *testing.T, path string, content []byte) {
	t.Helper()
	before := imageOf(t, path)
	const tries = 200 // other tests create files on the same file system
	for range tries {
		must(t, os.Remove(path))
		putArchived(t, path, content)
		if imageOf(t, path) == before {
			return
		}
		putArchived(t, path, content)
		before = imageOf(t, path)
	}
	t.Skip("this file system does not use inode numbers again")
}

func TestSameFile_RecreatedWithSameTime_IsAnother(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]program{"other size": dynamic("/bin/sh"), "same size": static()} {
		path := filepath.Join(t.TempDir(), "prog")
		putArchived(t, path, static().bytes())
		first := Check(RootedPath{Path: path})
		recreated(t, path, second.bytes())
		now := Check(RootedPath{Path: path})
		if now.Image == first.Image && now.Modified.Equal(first.Modified) && now.SameFile(first) {
			t.Errorf("%s: %+v and %+v are the same file", name, now, first)
		}
	}
}

func TestSameFile_OtherContentInPlace_IsAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prog")
	putArchived(t, path, static().bytes())
	first := Check(RootedPath{Path: path})
	putArchived(t, path, dynamic("/bin/sh").bytes())
	if now := Check(RootedPath{Path: path}); now.SameFile(first) {
		t.Errorf("%+v and %+v are the same file", now, first)
	}
}

func TestSameFile_ChmodOrHardLink_IsTheSame(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prog")
	put(t, path, static().bytes())
	first := Check(RootedPath{Path: path})
	must(t, os.Chmod(path, 0o700))
	must(t, os.Link(path, path+".link"))
	now := Check(RootedPath{Path: path})
	if !now.SameFile(first) {
		t.Errorf("%+v and %+v are different files", now, first)
	}
	if now.Changed.Equal(first.Changed) {
		t.Errorf("chmod and link left the change time at %s", now.Changed)
	}
}
