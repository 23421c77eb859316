// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// handle refers to a process that a server forked, which is no child of this process. A nil handle refers to none.
type handle struct {
	pid selector.PID
	fd  int
}

// open returns a handle for a PID. If the process has ended, the handle has no descriptor.
func open(pid selector.PID) (*handle, error) {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if errors.Is(err, unix.ESRCH) {
		return &handle{pid, -1}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pidfd %d: %w", pid, err)
	}
	return &handle{pid, fd}, nil
}

func (h *handle) signal(sig syscall.Signal) error {
	if h.fd < 0 {
		return fmt.Errorf("signal %d: %w", h.pid, os.ErrProcessDone)
	}
	if err := unix.PidfdSendSignal(h.fd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal %d: %w", h.pid, err)
	}
	return nil
}

// stopPatience limits the wait for a killed process. It is long because the host may be busy; the kernel needs
// microseconds.
const stopPatience = 10 * time.Second

// end kills the process and waits until it has ended. The handle must not be used afterwards.
func (h *handle) end() error {
	if h == nil || h.fd < 0 {
		return nil
	}
	_ = h.signal(unix.SIGKILL) // an error means that it has ended
	defer func() {
		_ = unix.Close(h.fd)
		h.fd = -1
	}()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(stopPatience.Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err == nil:
			return fmt.Errorf("end process %d: still there %s after SIGKILL", h.pid, stopPatience)
		case err != unix.EINTR:
			return fmt.Errorf("await end of process %d: %w", h.pid, err)
		}
	}
}
