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

// handOff is what a session is carried over an exec with.
type handOff struct {
	// Rest is the beginning of a line whose end was not read yet.
	Rest []byte `json:"rest,omitempty"`
	// Initialized is how often the client did that.
	Initialized int `json:"initialized,omitzero"`
	// Counted is how often the tool "count" was called.
	Counted int `json:"counted,omitzero"`
}

// session is the server's side of MCP over its stdin and stdout: one JSON object a line.
type session struct {
	s *serving
	// ended is called when the client has closed its end, and all its calls were answered.
	ended func()
	// wake is a pipe: a byte in it stops the reading. Closing it would not, while a forked child has
	// the same descriptors.
	wake    [2]int
	stopped chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex // guards handOff, but for Rest, which belongs to read
	handOff handOff

	out sync.Mutex // held while a line is written
}

func newSession(s *serving, ended func()) *session {
	return &session{s: s, ended: ended, handOff: s.Session}
}

// start goes on reading where the last image, or the last stop, left off.
func (c *session) start() {
	if err := unix.Pipe2(c.wake[:], unix.O_CLOEXEC); err != nil {
		c.s.exit(exitBroken, err.Error())
	}
	c.stopped = make(chan struct{})
	go c.read()
}

// stop ends the reading at the end of a line, and waits for the running calls. It reports whether they
// came to an end within the limit.
func (c *session) stop(limit time.Duration) bool {
	_, _ = unix.Write(c.wake[1], []byte{0}) // there is room for one
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

// state is what the next image needs. It is called between stop and exec.
func (c *session) state() handOff {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handOff
}

// read takes lines until it is stopped, or the client has gone. Nothing is read ahead of it that the
// hand-off would not carry.
func (c *session) read() {
	defer close(c.stopped)
	buf := make([]byte, 16<<10)
	for c.readable() {
		n, err := unix.Read(0, buf)
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
		case err != nil || n == 0:
			go func() { // not from here: a hand-over may be waiting for stopped
				c.running.Wait()
				c.ended()
			}()
			return
		default:
			c.take(buf[:n])
		}
	}
}

// readable waits for the client, and reports false when the reading is to stop.
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

// take splits what was read into lines, each of which is one message.
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
		case err != unix.EINTR: // nobody reads any more; the end of stdin follows
			return
		}
	}
}
