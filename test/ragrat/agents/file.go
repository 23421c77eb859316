// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Put writes a file next to path and renames it to path, as cargo install does. The file belongs to the user uid.
func Put(path string, text []byte, uid uint32) error {
	fresh := filepath.Join(filepath.Dir(path), ".fresh")
	if err := os.WriteFile(fresh, text, 0o755); err != nil {
		return err
	}
	if err := os.Chown(fresh, int(uid), int(uid)); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// Image identifies a file.
type Image struct{ dev, ino uint64 }

// ImageAt returns the image of the file at a path, such as the exe of a process.
func ImageAt(path string) (Image, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return Image{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return Image{st.Dev, st.Ino}, nil
}
