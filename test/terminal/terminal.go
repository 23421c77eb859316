// SPDX-License-Identifier: MIT

//go:build linux

// Package terminal is a pseudo terminal for tests.
package terminal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is how long Read waits for what must come.
const timeout = 20 * time.Second

// Terminal is a pseudo terminal. Its methods end the test when they fail.
type Terminal struct {
	t testing.TB
	// Keys is the side of the person, and TTY that of the program.
	Keys, TTY *os.File
}

// New makes a terminal that is closed at the end of the test.
func New(t testing.TB, width, height uint16) *Terminal {
	t.Helper()
	x := &Terminal{t: t}
	var err error
	x.Keys, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	x.must(err)
	t.Cleanup(func() { _ = x.Keys.Close() })
	fd := int(x.Keys.Fd())
	x.must(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	x.must(err)
	x.TTY, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	x.must(err)
	t.Cleanup(func() { _ = x.TTY.Close() })
	x.Resize(width, height)
	return x
}

func (x *Terminal) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// Resize sets the size. The kernel sends SIGWINCH to the processes that have the terminal as their controlling one only.
func (x *Terminal) Resize(width, height uint16) {
	x.t.Helper()
	x.must(unix.IoctlSetWinsize(int(x.Keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}))
}

// Press sends keys to the program.
func (x *Terminal) Press(keys string) {
	x.t.Helper()
	_, err := x.Keys.WriteString(keys)
	x.must(err)
}

// Read returns what the program writes until that contains text.
func (x *Terminal) Read(text string) string {
	x.t.Helper()
	var all []byte
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(timeout); !strings.Contains(string(all), text); {
		if time.Now().After(deadline) {
			x.t.Fatalf("%q does not contain %q", all, text)
		}
		polled := []unix.PollFd{{Fd: int32(x.Keys.Fd()), Events: unix.POLLIN}}
		if n, _ := unix.Poll(polled, 100); n <= 0 {
			continue
		}
		n, err := x.Keys.Read(buf)
		x.must(err)
		all = append(all, buf[:n]...)
	}
	return string(all)
}
