// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"encoding/binary"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pass is the value of an argument that rt_sigaction does not have. A call that carries it goes
// through the filter of [withoutHandlers]; those of Go's runtime and of libc do not.
const pass = 0x72617472

// sigaction has room for the kernel's struct of every architecture. Its content is only copied.
type sigaction [16]uint64

// sigsetSize is the size of the kernel's set of signals in bytes.
func sigsetSize() uintptr {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		return 16 // the one architecture that has 128 signals: arch/mips/include/uapi/asm/signal.h
	}
	return 8
}

// setAction asks the kernel and not Go's runtime, whose bookkeeping stays as it is. Each of set and
// old may be nil.
func setAction(sig syscall.Signal, set, old *sigaction) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), sigsetSize(), pass, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}

// disarm puts the default action in force.
func disarm(sig syscall.Signal) error { return setAction(sig, new(sigaction), nil) }

// arm installs the handler, and answers with the channel that gets the signals.
//
// signal.Notify is not enough: the runtime believes that its handler is there since it started. The
// action of SIGUSR2, which nobody touched, is the one it wanted to have.
func arm() (<-chan os.Signal, error) {
	arrived := make(chan os.Signal, 64) // so that none is lost while an event is written
	signal.Notify(arrived, unix.SIGUSR1)
	var handler sigaction
	if err := setAction(unix.SIGUSR2, nil, &handler); err != nil {
		return nil, err
	}
	return arrived, setAction(unix.SIGUSR1, &handler, nil)
}

// withoutHandlers runs f on a thread whose children cannot catch SIGUSR1 by accident: a call of
// rt_sigaction for it does nothing, and says that it did. It holds over fork and exec.
//
// The filter cannot be taken off again, so the thread ends with f. The runtime starts no thread
// from a locked one, so no other thread of this process has it. A failure is no error: see the
// package documentation.
func withoutHandlers(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // the main thread does not end, and is what /proc shows of this process
			withoutHandlers(f)
			runtime.UnlockOSThread()
			return
		}
		_ = filterSigaction()
		f()
	}()
	<-done
}

// filterSigaction leaves setuid programs what they are as long as that is possible: for root, that is.
func filterSigaction() error {
	filter := sigactionFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	set := func() error {
		return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err := set(); !errors.Is(err, unix.EACCES) {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return set()
}

// sigactionFilter reads struct seccomp_data (include/uapi/linux/seccomp.h): the number of the call
// at 0, its arguments of 8 bytes each from 16 on. It does not look at the architecture: what runs
// under it is this program, sh and sleep.
func sigactionFilter() []unix.SockFilter {
	const succeed = unix.SECCOMP_RET_ERRNO // with error number 0
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, jump uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: jump}
	}
	when := func(value uint32, jump uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: jump}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	return []unix.SockFilter{
		load(0), unless(unix.SYS_RT_SIGACTION, 5),
		load(lowWord(0)), unless(uint32(unix.SIGUSR1), 3),
		load(lowWord(4)), when(pass, 1),
		answer(succeed),
		answer(unix.SECCOMP_RET_ALLOW),
	}
}

// lowWord is where the low 32 bits of an argument are.
func lowWord(argument uint32) uint32 {
	offset := 16 + 8*argument
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return offset + 4 // big endian
	}
	return offset
}
