// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// holdUp makes a call long that reads a file: a write lease on it makes each open wait until the lease is given up
// (fcntl(2)). The file does not change, so that the server has nothing to index.
func holdUp(ctx context.Context, path string, long time.Duration) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := lease(ctx, f); err != nil {
		return errors.Join(fmt.Errorf("take a lease on %s: %w", path, err), f.Close())
	}
	time.AfterFunc(long, func() { _ = f.Close() }) // gives it up
	return nil
}

// lease waits until no server has the file open.
func lease(ctx context.Context, f *os.File) error {
	for {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
