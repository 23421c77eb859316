// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// defaultDrainLimit is how long the real servers wait for running calls before they give up an upgrade.
const defaultDrainLimit = 30 * time.Second

// handOff is the part of a session that survives an exec.
type handOff struct {
	// Rest is the beginning of an incomplete line.
	Rest []byte `json:"rest,omitempty"`
	// Initialized is how often the client initialized the session.
	Initialized int `json:"initialized,omitzero"`
	// Counted is how often the tool "count" was called.
	Counted int `json:"counted,omitzero"`
}

// session is the server's side of MCP over its stdin and stdout: one JSON object a line.
type session struct {
	s *serving
	// ended is called when the client has closed its end and all calls were answered.
	ended func()
	// wake is a pipe: a byte in it stops the reading. A close would not while a forked child has the same descriptors.
	wake    [2]int
	stopped chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex // guards handOff, except Rest, which belongs to read
	handOff handOff

	out sync.Mutex // held while a line is written
}

func newSession(s *serving, ended func()) *session {
	return &session{s: s, ended: ended, handOff: s.Session}
}

// start continues reading after the last image or the last stop.
func (c *session) start() {
	if err := unix.Pipe2(c.wake[:], unix.O_CLOEXEC); err != nil {
		c.s.exit(exitBroken, err.Error())
	}
	c.stopped = make(chan struct{})
	go c.read()
}

// stop stops the reading and waits for the running calls. It reports whether they ended within the limit.
func (c *session) stop(limit time.Duration) bool {
	_, _ = unix.Write(c.wake[1], []byte{0}) // the pipe is empty
	<-c.stopped
	_, _ = unix.Close(c.wake[0]), unix.Close(c.wake[1])
	idle := make(chan struct{})
	go func() {
		c.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return true
	case <-time.After(limit):
		return false
	}
}

// state returns what the next image needs. It is called between stop and exec.
func (c *session) state() handOff {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handOff
}

// read reads lines until it is stopped, or the client has closed its end. Everything that it has read and not handled
// is in the hand-off.
func (c *session) read() {
	defer close(c.stopped)
	buf := make([]byte, 16<<10)
	for c.readable() {
		n, err := unix.Read(0, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil || n == 0:
			go func() { // in another goroutine: stop may be waiting for this one
				c.running.Wait()
				c.ended()
			}()
			return
		default:
			c.take(buf[:n])
		}
	}
}

// readable waits for input, and reports false when the reading must stop.
func (c *session) readable() bool {
	for {
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(c.wake[0]), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0:
			return false
		default:
			return true
		}
	}
}

// take splits the input into lines, and handles each as one message.
func (c *session) take(text []byte) {
	c.handOff.Rest = append(c.handOff.Rest, text...)
	for {
		line, rest, whole := bytes.Cut(c.handOff.Rest, []byte{'\n'})
		if !whole {
			return
		}
		line = bytes.Clone(line)
		c.handOff.Rest = append(c.handOff.Rest[:0], rest...)
		c.message(line)
	}
}

// write writes one line.
func (c *session) write(line []byte) {
	c.out.Lock()
	defer c.out.Unlock()
	for line = append(line, '\n'); len(line) > 0; {
		n, err := unix.Write(1, line)
		switch {
		case err == nil:
			line = line[n:]
		case err != unix.EINTR: // the client has closed its end; the end of stdin follows
			return
		}
	}
}
