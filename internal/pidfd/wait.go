// SPDX-License-Identifier: MIT

//go:build linux

package pidfd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

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
		if !ended(fd) {
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

// pollable is a descriptor of its own that the Go runtime polls: a pidfd becomes readable when the
// process ends (pidfd_poll, commit b53b0b9d9a61, Linux 5.3).
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

func ended(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// info is struct pidfd_info of include/uapi/linux/pidfd.h as of Linux 6.15, up to the exit code.
type info struct {
	mask, cgroup uint64
	ids          [11]uint32
	exitCode     int32
}

const (
	getInfo  = 0xc0000000 | unsafe.Sizeof(info{})<<16 | 0xff<<8 | 11 // PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info)
	infoExit = 1 << 3                                                // PIDFD_INFO_EXIT, there once the process was reaped
)

// exitStatus asks the pidfd, which knows once the process was reaped, and before that /proc, where it
// is a zombie. It may become the one while the other is looked at.
func (h *Handle) exitStatus(fd uintptr) selector.Exit {
	for range 3 {
		i := info{mask: infoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, getInfo, uintptr(unsafe.Pointer(&i)))
		if errno == 0 && i.mask&infoExit != 0 {
			return selector.Exit{Known: true, Status: uint32(i.exitCode)}
		}
		status, err := h.zombie()
		if err == nil && unix.PidfdSendSignal(int(fd), 0, nil, 0) == nil { // the number is still its own
			return selector.Exit{Known: true, Status: status}
		}
	}
	return selector.Exit{}
}

var errNoZombie = errors.New("not a zombie")

// exitCodeField is where /proc/PID/stat has the exit code, counted from the state, which is field 3
// (proc_pid_stat(5)).
const exitCodeField = 52 - 3

func (h *Handle) zombie() (uint32, error) {
	stat, err := os.ReadFile("/proc/" + h.pid.String() + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read how %d ended: %w", h.pid, err)
	}
	return zombieStatus(stat)
}

// zombieStatus is what a stat file says of how a process ended. The name in it is free text.
func zombieStatus(stat []byte) (uint32, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= exitCodeField || string(fields[0]) != "Z" {
		return 0, errNoZombie
	}
	code, err := strconv.ParseUint(string(fields[exitCodeField]), 10, 32)
	if err != nil {
		return 0, errNoZombie
	}
	return uint32(code), nil
}
