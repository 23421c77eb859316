// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Pause is the file that keeps an operator's pause of one service. Unlike the journal it survives the machine. It exists
// while the service is paused.
type Pause struct {
	path string
}

// pauseText is for a person; only the existence of the file counts.
const pauseText = "An operator paused the service: ebpf-upgrader resume ends that, and removes this file.\n"

// NewPause is the file in dir for the service that serves names; see [Open].
func NewPause(dir, serves string) Pause {
	return Pause{filepath.Join(dir, "paused-"+Key(serves))}
}

// IsSet reports whether an operator paused the service. Where that cannot be read the answer is yes, with the error: no
// server is signalled that an operator may have excluded.
func (p Pause) IsSet() (bool, error) {
	switch _, err := os.Lstat(p.path); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return true, fmt.Errorf("read the pause: %w", err)
	}
}

// Since is when the pause was set; zero: it is not, or that cannot be read.
func (p Pause) Since() time.Time {
	info, err := os.Lstat(p.path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Set keeps a pause. It waits for the disk, and makes the directory (mode 0700) if it is missing.
func (p Pause) Set() error {
	err := os.MkdirAll(filepath.Dir(p.path), 0o700)
	if err == nil {
		err = os.WriteFile(p.path, []byte(pauseText), 0o600)
	}
	if err == nil {
		err = p.sync()
	} else {
		_ = os.Remove(p.path) // not half a pause
	}
	if err != nil {
		return fmt.Errorf("keep the pause: %w", err)
	}
	return nil
}

// Clear keeps the end of a pause. It waits for the disk.
func (p Pause) Clear() error {
	err := os.Remove(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = p.sync()
	}
	if err != nil {
		return fmt.Errorf("end the kept pause: %w", err)
	}
	return nil
}

// sync puts the directory on the disk.
func (p Pause) sync() error {
	dir, err := os.Open(filepath.Dir(p.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
