// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// holdVariable makes a process the holder of its memory, and peekVariable its helper. shareVariable is how many other
// processes share that memory.
const (
	holdVariable  = "TESTFLEET_HOLD"
	peekVariable  = "TESTFLEET_PEEK"
	shareVariable = "TESTFLEET_SHARE"
)

// Held is a process with a held memory lock: every read of its arguments or its environment waits for a file that does
// not answer. A helper reads a page of that file through /proc/PID/mem, which takes the lock of the address space for
// reading and waits for the file (__access_remote_vm in mm/memory.c, Linux 6.12). The process itself waits for the lock
// to change its mappings, so the kernel lets no further reader in.
type Held struct {
	PID   int
	parts []*exec.Cmd
}

// StartHeld starts a process with these arguments, which holds its memory by a file such as that of [MountMute] or
// [MountSlow]. Main or TestMain must begin with [Main]. The caller must first release the file, and then Stop the
// process.
func StartHeld(file string, argv ...string) (*Held, error) { return StartHeldByMany(0, file, argv...) }

// StartHeldByMany does the same with other processes that share the memory. They end with the first one.
func StartHeldByMany(others int, file string, argv ...string) (h *Held, err error) {
	h = &Held{}
	defer func() {
		if err != nil {
			h.kill()
		}
	}()
	holder, out, in, err := h.start(argv, holdVariable+"="+file, fmt.Sprintf("%s=%d", shareVariable, others))
	if err != nil {
		return h, err
	}
	h.PID = holder.Process.Pid
	var at uint64
	if _, err := fmt.Fscanln(out, &at); err != nil {
		return h, fmt.Errorf("process %d maps nothing: %w", h.PID, err)
	}
	peeker, _, _, err := h.start([]string{"peek"}, fmt.Sprintf("%s=%d %d", peekVariable, h.PID, at))
	if err != nil {
		return h, err
	}
	if err := awaitCall(peeker.Process.Pid, unix.SYS_PREAD64); err != nil {
		return h, err
	}
	if _, err := in.Write([]byte{'\n'}); err != nil {
		return h, err
	}
	return h, awaitCall(h.PID, unix.SYS_MUNMAP)
}

func (h *Held) start(argv []string, variables ...string) (*exec.Cmd, io.Reader, io.Writer, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: variables}
	in, failed := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if err = errors.Join(err, failed); err == nil {
		err = cmd.Start()
	}
	if err == nil {
		h.parts = append(h.parts, cmd)
	}
	return cmd, out, in, err
}

// awaitCall polls until the main thread of a process waits in a system call.
func awaitCall(pid, number int) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(call), fmt.Sprintf("%d ", number)) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not wait in system call %d after 10 s", pid, number)
}

func (h *Held) kill() {
	for _, part := range h.parts {
		_ = part.Process.Kill()
	}
}

// Stop kills the process, and waits for its end, which comes only after the file has answered.
func (h *Held) Stop() {
	h.kill()
	for _, part := range h.parts {
		_ = part.Wait()
	}
}

// hold does not return in a process that [StartHeld] started.
func hold() {
	file, holds := os.LookupEnv(holdVariable)
	target, peeks := os.LookupEnv(peekVariable)
	if !holds && !peeks {
		return
	}
	var err error
	if holds {
		err = holdMemory(file)
	} else {
		err = peek(target)
	}
	fmt.Fprintln(os.Stderr, "hold:", err)
	unix.Exit(exitBroken)
}

func holdMemory(file string) error {
	others, err := strconv.Atoi(os.Getenv(shareVariable))
	if err != nil {
		return err
	}
	if err := share(others); err != nil {
		return err
	}
	var ready, begin sync.WaitGroup
	begin.Add(1)
	for range min(others, changers-1) {
		ready.Add(1)
		go func() {
			runtime.LockOSThread() // an existing thread: no thread can be started while the lock is held
			ready.Done()
			begin.Wait()
			change()
		}()
	}
	ready.Wait()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	fmt.Println(uintptr(unsafe.Pointer(&mapped[0])))
	if _, err := unix.Read(0, make([]byte, 1)); err != nil {
		return err
	}
	begin.Done()
	change()
	return nil
}

// changers is how many threads change the mappings if other processes share the memory: one still waits when the kernel
// lets another one in. Without others there is one thread, so that no other thread delays its call.
const changers = 3

// change waits for the lock for writing, again and again.
func change() {
	const nowhere = 1 << 16 // an unmapped address
	for {
		_, _, _ = unix.Syscall(unix.SYS_MUNMAP, nowhere, uintptr(os.Getpagesize()), 0)
	}
}

func peek(target string) error {
	var pid int
	var at int64
	if _, err := fmt.Sscan(target, &pid, &at); err != nil {
		return err
	}
	memory, err := unix.Open(fmt.Sprintf("/proc/%d/mem", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	var one byte
	for { // after an answer the file is read again
		_, _, _ = unix.RawSyscall6(unix.SYS_PREAD64, uintptr(memory), uintptr(unsafe.Pointer(&one)), 1, uintptr(at), 0, 0)
	}
}

// share starts processes that share the memory of this one.
func share(others int) error {
	if others == 0 {
		return nil
	}
	// The runtime does not know that these threads wait, and must not wait for them.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(others + 8)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	for range others {
		go func() {
			runtime.LockOSThread()
			sharer(w.Fd())
		}()
	}
	_, err = io.ReadFull(r, make([]byte, others))
	return err
}

// sharer starts a process with the memory and the stack of this thread (clone(2)). The process writes a byte and pauses
// while this thread lives. This thread waits for its end.
//
//go:norace
//go:nosplit
func sharer(started uintptr) {
	const flags = unix.CLONE_VM | unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
	if pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0); pid != 0 {
		return
	}
	var one byte
	_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, started, uintptr(unsafe.Pointer(&one)), 1)
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
	}
}
