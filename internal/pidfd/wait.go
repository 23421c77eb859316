// SPDX-License-Identifier: MIT

//go:build linux

package pidfd

import (
	"context"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Wait blocks until the process ends, and returns how. The exit is unknown where the kernel is older than 6.15 and the
// parent reaped the process first. Wait fails when ctx ends. It does not occupy a thread, and may be called beside Signal
// and Close, once it runs.
func (h *Handle) Wait(ctx context.Context) (exit selector.Exit, err error) {
	f, err := h.pollable()
	if err != nil {
		return selector.Exit{}, err
	}
	defer func() { _ = f.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return selector.Exit{}, wrap("await", h.pid, err)
	}
	waiting := conn.Read(func(fd uintptr) bool {
		if !sys.HasEnded(int(fd)) {
			return false
		}
		exit = h.exitStatus(fd)
		return true
	})
	if ctx.Err() != nil {
		return selector.Exit{}, ctx.Err()
	}
	if waiting != nil {
		return selector.Exit{}, wrap("await", h.pid, waiting)
	}
	return exit, nil
}

// pollable returns a duplicate of the descriptor that the Go runtime polls. A pidfd becomes readable when the process ends
// (pidfd_poll, commit b53b0b9d9a61, Linux 5.3).
func (h *Handle) pollable() (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return nil, wrap("await", h.pid, unix.EBADF)
	}
	fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, wrap("await", h.pid, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, wrap("await", h.pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// exitStatus reads the status from the pidfd, which has it once the process was reaped (Linux 6.15), or from /proc, which
// has it while the process is a zombie. The process may be reaped between the two reads, so they are repeated.
func (h *Handle) exitStatus(fd uintptr) selector.Exit {
	for range 3 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if unix.IoctlPidfdInfo(int(fd), &info) == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return selector.Exit{Known: true, Status: uint32(info.Exit_code)}
		}
		stat, _ := os.ReadFile("/proc/" + h.pid.String() + "/stat") // an empty line is that of no zombie
		status, isZombie := zombieStatus(stat)
		if isZombie && unix.PidfdSendSignal(int(fd), 0, nil, 0) == nil { // the PID was not used again
			return selector.Exit{Known: true, Status: status}
		}
	}
	return selector.Exit{}
}

// Fields of /proc/PID/stat, as proc_pid_stat(5) counts.
const (
	stateField    = 3
	exitCodeField = 52
)

// zombieStatus reads the exit status from the stat line of a zombie.
func zombieStatus(stat []byte) (status uint32, isZombie bool) {
	for number, field := range sys.StatFields(stat) {
		switch {
		case number == stateField && string(field) != "Z":
			return 0, false
		case number == exitCodeField:
			code, err := strconv.ParseUint(string(field), 10, 32)
			return uint32(code), err == nil
		}
	}
	return 0, false
}
