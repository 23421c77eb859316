// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// slowLog copies the log of the service to a file. While it is held it reads nothing, and the pipe of a page fills.
type slowLog struct {
	mu sync.Mutex // held while nothing is read
}

// pipe returns the end that an instance writes. The copy ends when all of its writers have closed it.
func (l *slowLog) pipe(file *os.File) (writer *os.File, copied <-chan struct{}, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	_, _ = unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _, _ = reader.Close(), file.Close() }()
		_, _ = io.Copy(file, reads{l, reader})
	}()
	return writer, done, nil
}

// reads is a reader that waits while the log is held.
type reads struct {
	log *slowLog
	io.Reader
}

func (r reads) Read(p []byte) (int, error) {
	r.log.mu.Lock()
	r.log.mu.Unlock() //nolint:staticcheck // it waits for the holder, and lets the next one in
	return r.Reader.Read(p)
}

// stand holds the log again and again until ctx ends.
func (l *slowLog) stand(ctx context.Context, r *rand.Rand, stood func()) error {
	for pause(ctx, r, time.Second, 4*time.Second) {
		l.mu.Lock()
		pause(ctx, r, 0, 3*time.Second)
		l.mu.Unlock()
		stood()
	}
	return nil
}
