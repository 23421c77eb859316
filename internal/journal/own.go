// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readOwn reads a regular file of this user. It does not block on a FIFO.
func readOwn(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: a symbolic link", ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var stat unix.Stat_t
	switch err = unix.Fstat(int(file.Fd()), &stat); {
	case err != nil:
		return nil, err
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("%w: no regular file", ErrForeign)
	case int(stat.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%w: belongs to uid %d", ErrForeign, stat.Uid)
	case stat.Size > maxSize:
		return nil, fmt.Errorf("%w: has %d bytes", ErrForeign, stat.Size)
	}
	return io.ReadAll(io.LimitReader(file, maxSize))
}
