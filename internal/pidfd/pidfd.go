// SPDX-License-Identifier: MIT

//go:build linux

package pidfd

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// ErrGone means that the process has ended and was reaped.
var ErrGone = selector.ErrGone

// Handle pins one process. It is safe for concurrent use.
type Handle struct {
	pid selector.PID

	mu sync.Mutex // guards fd: after a Close during a Signal, the number could be another file
	fd int        // -1 after Close
}

// Open pins the process that has the PID now. It fails with [ErrGone] when there is none, and never blocks. The caller must
// Close the Handle.
func Open(pid selector.PID) (*Handle, error) {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return nil, wrap("open pidfd", pid, err)
	}
	return &Handle{pid: pid, fd: fd}, nil
}

// Signal sends sig to the process. It fails with [ErrGone] when the process was reaped. A signal to a zombie succeeds without
// effect, as with kill(2).
func (h *Handle) Signal(sig syscall.Signal) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return wrap("signal", h.pid, unix.EBADF)
	}
	if err := unix.PidfdSendSignal(h.fd, sig, nil, 0); err != nil {
		return wrap("signal", h.pid, err)
	}
	return nil
}

// Close closes the descriptor. A second call does nothing.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return nil
	}
	fd := h.fd
	h.fd = -1
	if err := unix.Close(fd); err != nil {
		return wrap("close pidfd", h.pid, err)
	}
	return nil
}

func wrap(verb string, pid selector.PID, err error) error {
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	return fmt.Errorf("%s %d: %w", verb, pid, err)
}
