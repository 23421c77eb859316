// SPDX-License-Identifier: MIT

//go:build linux

package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

// NextPath is where a file is staged for an install.
func NextPath(path string) string { return path + ".next" }

// PreviousPath is where the file before the staged one is kept.
func PreviousPath(path string) string { return path + ".previous" }

// temporary is where a file is made ready in the folder of an install.
func temporary(path, what string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+what)
}

var (
	// ErrChanged means that the staged file is not the one that was meant any more.
	ErrChanged = errors.New("another file is staged by now")
	// ErrNoPrevious means that there is no file to go back to.
	ErrNoPrevious = errors.New("no file before it is kept")
)

// Usable reports why files cannot be staged for an install; nil: they can. The install need not exist yet.
func Usable(path string) error {
	if err := sys.TrustedFolder(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := sys.OpenTrusted(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// ReleaseOf reads a program that only root can change, and returns the release that it is. It fails where another user could
// change the file. It reads the whole file.
func ReleaseOf(path string) (Release, error) {
	f, err := sys.OpenTrusted(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return copyTo(io.Discard, f)
}

func copyTo(to io.Writer, f *os.File) (Release, error) {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, sum), f); err != nil {
		return "", fmt.Errorf("read %q: %w", f.Name(), err)
	}
	return Release("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// Place puts a copy of the staged file in the place of an install, in one step, and keeps what was there at PreviousPath. It
// fails with [ErrChanged] where the staged file is another release. After an error, or a kill at any moment, the file before
// is at path, or the whole new one, and a second call starts again.
func Place(path string, want Release) error { return place(path, want, func(string) {}) }

// place is Place. It calls reached after each step.
func place(path string, want Release, reached func(step string)) error {
	next, err := sys.OpenTrusted(NextPath(path))
	if err != nil {
		return err
	}
	defer func() { _ = next.Close() }()
	ready := temporary(path, "ready")
	defer func() { _ = os.Remove(ready) }()
	if err := copyFile(ready, next, want, reached); err != nil {
		return err
	}
	if err := keep(path, reached); err != nil {
		return err
	}
	if err := os.Rename(ready, path); err != nil {
		return err
	}
	reached("renamed")
	return sys.SyncFolder(path)
}

// copyFile makes a copy of a file, with its owner and permissions, that survives a power cut.
func copyFile(to string, from *os.File, want Release, reached func(string)) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed
		return err
	}
	info, err := from.Stat()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	reached("created")
	found, err := copyTo(f, from)
	if err != nil {
		return err
	}
	if found != want {
		return fmt.Errorf("%w: %s, not %s", ErrChanged, found.Short(), want.Short())
	}
	reached("copied")
	if err := errors.Join(f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	reached("synced")
	return nil
}

// keep makes PreviousPath another name of what is installed, if anything is.
func keep(path string, reached func(string)) error {
	err := replaceBy(path, PreviousPath(path), temporary(path, "previous"), reached)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// replaceBy makes to another name of the file at from, in one step. A link there is not followed.
func replaceBy(from, to, by string, reached func(string)) error {
	if err := os.Remove(by); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, by, 0); err != nil {
		return &os.LinkError{Op: "link", Old: from, New: by, Err: err}
	}
	defer func() { _ = os.Remove(by) }() // rename leaves it where both names lead to one file
	reached("linked")
	if err := os.Rename(by, to); err != nil {
		return err
	}
	reached("kept")
	return nil
}

// Restore puts the file at PreviousPath back in the place of an install, in one step. It is the same file, so servers that
// still run it are current again. PreviousPath keeps it. It does nothing where that file is installed already.
func Restore(path string) error {
	if err := sys.TrustedFolder(filepath.Dir(path)); err != nil {
		return err
	}
	before, err := os.Lstat(PreviousPath(path))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w at %q", ErrNoPrevious, PreviousPath(path))
	}
	if err != nil {
		return err
	}
	if now, err := os.Lstat(path); err == nil && os.SameFile(before, now) {
		return nil
	}
	if err := replaceBy(PreviousPath(path), path, temporary(path, "ready"), func(string) {}); err != nil {
		return err
	}
	return sys.SyncFolder(path)
}
