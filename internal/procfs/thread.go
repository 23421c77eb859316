// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Thread is one of this process's own. The zero Thread is none.
type Thread struct{ dir string }

// Thread is the one that this is called on: who wants to go on speaking of it has locked himself to it. It
// needs Linux 3.17.
func (fs *FS) Thread() (Thread, error) {
	link := make([]byte, 64) // two numbers and a word
	n, err := unix.Readlinkat(fs.Descriptor(), "thread-self", link)
	if err != nil {
		return Thread{}, fmt.Errorf("find the own thread: %w", err)
	}
	return Thread{string(link[:n])}, nil
}

// Sleeps reports whether a thread waits in the kernel for something that no signal but a deadly one ends: a lock, or
// a disk, and neither a processor nor an event.
func (fs *FS) Sleeps(t Thread) bool {
	if t == (Thread{}) {
		return false
	}
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	s, err := fs.stat(fs.Descriptor(), t.dir+"/stat", *buf)
	return err == nil && s.state == 'D'
}
