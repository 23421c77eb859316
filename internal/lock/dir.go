// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openDir opens a directory in which only this user and root can create and remove files. It makes the directory if it is
// missing.
func openDir(path string) (*os.File, error) {
	if err := makeDir(path); err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func checkDir(dir *os.File) error {
	var stat unix.Stat_t
	err := unix.Fstat(int(dir.Fd()), &stat)
	switch {
	case err != nil:
		return err
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("directory %q belongs to another user (uid %d), and the lock could be removed: use another --run-dir", dir.Name(), stat.Uid)
	case stat.Mode&0o022 != 0:
		return fmt.Errorf("directory %q has mode %04o, so that other users could remove the lock", dir.Name(), stat.Mode&0o7777)
	}
	return nil
}

// makeDir makes the directory, if it is missing, with a mode that does not depend on the umask.
func makeDir(path string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	err := os.Mkdir(path, mode)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
