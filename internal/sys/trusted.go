// SPDX-License-Identifier: MIT

//go:build linux

package sys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotTrusted means that another user than root could change a file, or replace it.
var ErrNotTrusted = errors.New("not only root can change it")

// maxLinks is the limit of the kernel.
const maxLinks = 40

// TrustedFolder reports why another user than root could replace a file in a folder; nil: none could. Each directory on the
// way must belong to root, and may be writable for others only if it is sticky; the folder itself must not be writable.
func TrustedFolder(folder string) error {
	if !filepath.IsAbs(folder) {
		return fmt.Errorf("%q must be absolute", folder)
	}
	left, at, links := strings.Split(folder, "/"), "/", 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if err := trusted(at, info, len(left) > 0); err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return fmt.Errorf("%q: %w", folder, unix.ELOOP)
			}
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			left = append(strings.Split(to, "/"), left...)
			if at = filepath.Dir(at); filepath.IsAbs(to) {
				at = "/"
			}
			continue
		}
		if len(left) == 0 {
			return nil
		}
		at, left = filepath.Join(at, left[0]), left[1:]
		for len(left) > 0 && left[0] == "" {
			left = left[1:]
		}
	}
}

// trusted reports why another user could change a directory or a link on the way.
func trusted(path string, info os.FileInfo, isOnTheWay bool) error {
	stat := info.Sys().(*syscall.Stat_t)
	isLink := info.Mode()&os.ModeSymlink != 0
	isShared := info.Mode().Perm()&0o022 != 0 && (!isOnTheWay || info.Mode()&os.ModeSticky == 0)
	switch {
	case stat.Uid != 0:
		return fmt.Errorf("%q belongs to uid %d: %w", path, stat.Uid, ErrNotTrusted)
	case isShared && !isLink:
		return fmt.Errorf("%q is writable for other users than root: %w", path, ErrNotTrusted)
	case !isLink && !info.IsDir():
		return fmt.Errorf("%q: %w", path, unix.ENOTDIR)
	}
	return nil
}

// OpenTrusted opens a program that only root can change or replace, for reading. The last part of path is no link. The caller
// closes the file.
func OpenTrusted(path string) (*os.File, error) {
	if err := TrustedFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%q is a symbolic link: stage the file itself", path)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := trustedProgram(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func trustedProgram(f *os.File) error {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return err
	}
	switch {
	case s.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%q is no regular file", f.Name())
	case s.Uid != 0:
		return fmt.Errorf("%q belongs to uid %d: %w", f.Name(), s.Uid, ErrNotTrusted)
	case s.Mode&0o022 != 0:
		return fmt.Errorf("%q is writable for other users than root: %w", f.Name(), ErrNotTrusted)
	case s.Mode&(unix.S_ISUID|unix.S_ISGID) != 0:
		return fmt.Errorf("%q is setuid or setgid", f.Name())
	case s.Mode&0o111 == 0:
		return fmt.Errorf("%q is not executable", f.Name())
	}
	return nil
}
