// SPDX-License-Identifier: MIT

//go:build linux

package pidfd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

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

// info is struct pidfd_info of include/uapi/linux/pidfd.h as of Linux 6.15, up to the exit code.
type info struct {
	mask, cgroup uint64
	ids          [11]uint32
	exitCode     int32
}

const (
	getInfo  = 0xc0000000 | unsafe.Sizeof(info{})<<16 | 0xff<<8 | 11 // PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info)
	infoExit = 1 << 3                                                // PIDFD_INFO_EXIT: set once the process was reaped
)

// exitStatus reads the status from the pidfd, which has it once the process was reaped, or from /proc, which has it while the
// process is a zombie. The process may be reaped between the two reads, so they are repeated.
func (h *Handle) exitStatus(fd uintptr) selector.Exit {
	for range 3 {
		i := info{mask: infoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, getInfo, uintptr(unsafe.Pointer(&i)))
		if errno == 0 && i.mask&infoExit != 0 {
			return selector.Exit{Known: true, Status: uint32(i.exitCode)}
		}
		status, err := h.zombie()
		if err == nil && unix.PidfdSendSignal(int(fd), 0, nil, 0) == nil { // the PID was not used again
			return selector.Exit{Known: true, Status: status}
		}
	}
	return selector.Exit{}
}

var errNoZombie = errors.New("not a zombie")

// Fields of /proc/PID/stat, as proc_pid_stat(5) counts.
const (
	stateField    = 3
	exitCodeField = 52
)

func (h *Handle) zombie() (uint32, error) {
	stat, err := os.ReadFile("/proc/" + h.pid.String() + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read how %d ended: %w", h.pid, err)
	}
	return zombieStatus(stat)
}

// zombieStatus reads the exit status out of the stat line of a zombie.
func zombieStatus(stat []byte) (uint32, error) {
	state, err := sys.StatField(stat, stateField)
	if err != nil || string(state) != "Z" {
		return 0, errNoZombie
	}
	field, err := sys.StatField(stat, exitCodeField)
	if err != nil {
		return 0, errNoZombie
	}
	code, err := strconv.ParseUint(string(field), 10, 32)
	if err != nil {
		return 0, errNoZombie
	}
	return uint32(code), nil
}
