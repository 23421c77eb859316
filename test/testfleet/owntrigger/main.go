// SPDX-License-Identifier: MIT

//go:build linux

// Command owntrigger sends SIGUSR1 to one server if that runs another file than the installed one and catches the
// signal, as the servers' own trigger does: owntrigger PID PATH. The time between its last read and its signal is as
// short as possible. If the server execs in between, after another sender's signal, this program kills it.
package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0) // as root
	if err := trigger(os.Args[1], os.Args[2]); err != nil {
		os.Exit(1)
	}
}

func trigger(pid, path string) error {
	number, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(number, 0)
	if err != nil {
		return err
	}
	status, err := unix.Open("/proc/"+pid+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var runs, installed unix.Stat_t
	if err := unix.Stat(path, &installed); err != nil {
		return err
	}
	if err := unix.Stat("/proc/"+pid+"/exe", &runs); err != nil {
		return err
	}
	buf := make([]byte, 8192)
	n, err := unix.Read(status, buf)
	if err != nil || runs.Ino == installed.Ino && runs.Dev == installed.Dev || !catches(buf[:n]) {
		return err
	}
	return unix.PidfdSendSignal(pidfd, unix.SIGUSR1, nil, 0)
}

// catches looks for SIGUSR1 in SigCgt.
func catches(status []byte) bool {
	_, after, _ := bytes.Cut(status, []byte("SigCgt:\t"))
	mask, err := strconv.ParseUint(string(after[:min(16, len(after))]), 16, 64)
	return err == nil && mask&(1<<(unix.SIGUSR1-1)) != 0
}
