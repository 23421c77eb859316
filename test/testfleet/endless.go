// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// endless is a size in bytes that no reader can read in time: a terabyte.
const endless = 1 << 40

// EndlessArguments makes the kernel show a terabyte as the arguments of this process: a first argument, followed by
// zeros. It needs no capability.
func EndlessArguments(first string) error {
	at, err := mapEndless()
	if err != nil {
		return err
	}
	copy(unsafe.Slice((*byte)(at), len(first)), first)
	return setLayout(func(l *layout) { l.ArgStart, l.ArgEnd = uint64(uintptr(at)), uint64(uintptr(at))+endless })
}

// EndlessEnvironment does the same with an environment of zeros.
func EndlessEnvironment() error {
	at, err := mapEndless()
	if err != nil {
		return err
	}
	return setLayout(func(l *layout) { l.EnvStart, l.EnvEnd = uint64(uintptr(at)), uint64(uintptr(at))+endless })
}

func mapEndless() (unsafe.Pointer, error) {
	return unix.MmapPtr(-1, 0, nil, endless, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
}

// layout is struct prctl_mm_map of include/uapi/linux/prctl.h.
type layout struct {
	StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd                                uint64
	Auxv                                                              uint64
	AuxvSize, ExeFD                                                   uint32
}

// setLayout changes the memory layout of this process as the kernel sees it.
func setLayout(change func(*layout)) error {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	var failed error
	field := func(number int) uint64 { // numbered as in proc(5)
		n, err := strconv.ParseUint(fields[number-3], 10, 64)
		failed = errors.Join(failed, err)
		return n
	}
	brk, _, _ := unix.Syscall(unix.SYS_BRK, 0, 0, 0)
	l := layout{
		StartCode: field(26), EndCode: field(27), StartStack: field(28), StartData: field(45), EndData: field(46),
		StartBrk: field(47), Brk: uint64(brk), ArgStart: field(48), ArgEnd: field(49), EnvStart: field(50), EnvEnd: field(51),
		ExeFD: ^uint32(0), // unchanged
	}
	if failed != nil {
		return fmt.Errorf("read /proc/self/stat: %w", failed)
	}
	change(&l)
	err = unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
	return os.NewSyscallError("prctl", err)
}
