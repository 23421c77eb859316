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

	"ebpf-upgrader/test/poll"
)

// holdUp makes a call that reads a file take long: a write lease makes each open wait until the lease is given up
// (fcntl(2)). The file does not change, so that the server has nothing to index.
func holdUp(ctx context.Context, path string, long time.Duration) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := lease(ctx, f); err != nil {
		return errors.Join(fmt.Errorf("take a lease on %s: %w", path, err), f.Close())
	}
	time.AfterFunc(long, func() { _ = f.Close() }) // gives up the lease
	return nil
}

// lease takes the lease once no server has the file open.
func lease(ctx context.Context, f *os.File) error {
	for {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		if err := poll.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
