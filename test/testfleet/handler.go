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

// pass is the value of an additional argument of rt_sigaction, which the kernel ignores. The filter of
// [withoutHandlers] lets a call with it pass; calls of Go's runtime and of libc have no such argument.
const pass = 0x72617472

// sigaction is large enough for the kernel's struct on every architecture. Its content is only copied.
type sigaction [16]uint64

// sigsetSize returns the size of the kernel's sigset_t in bytes.
func sigsetSize() uintptr {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		return 16 // the one architecture that has 128 signals: arch/mips/include/uapi/asm/signal.h
	}
	return 8
}

// setAction calls the kernel directly, so that the state of Go's runtime does not change. set and old may be nil.
func setAction(sig syscall.Signal, set, old *sigaction) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), sigsetSize(), pass, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}

// disarm sets the default action.
func disarm(sig syscall.Signal) error { return setAction(sig, new(sigaction), nil) }

// arm installs the handler, and returns the channel that receives the signals.
//
// signal.Notify is not enough, because the runtime assumes that its handler was installed at its start. The action of
// SIGUSR2, which is unchanged, is the one that the runtime installs.
func arm() (<-chan os.Signal, error) {
	arrived := make(chan os.Signal, 64) // large enough while an event is written
	signal.Notify(arrived, unix.SIGUSR1)
	var handler sigaction
	if err := setAction(unix.SIGUSR2, nil, &handler); err != nil {
		return nil, err
	}
	return arrived, setAction(unix.SIGUSR1, &handler, nil)
}

// withoutHandlers runs f on a thread with a seccomp filter: a call of rt_sigaction for SIGUSR1 does nothing and reports
// success. Children inherit the filter over fork and exec, so they cannot install a handler by accident.
//
// The filter cannot be removed, so the thread ends with f. The runtime starts no thread from a locked one, so no other
// thread of this process has the filter. A failure is no error: see the package documentation.
func withoutHandlers(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // the main thread must not end: /proc/PID shows it
			withoutHandlers(f)
			runtime.UnlockOSThread()
			return
		}
		_ = filterSigaction()
		f()
	}()
	<-done
}

// filterSigaction installs the filter. It sets no_new_privs, which disables setuid programs, only without privileges.
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

// sigactionFilter reads struct seccomp_data (include/uapi/linux/seccomp.h): the number of the call at 0, its arguments
// of 8 bytes each from 16 on. It does not check the architecture: only this program, sh and sleep run under it.
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

// lowWord returns the offset of the low 32 bits of an argument.
func lowWord(argument uint32) uint32 {
	offset := 16 + 8*argument
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return offset + 4 // big endian
	}
	return offset
}
