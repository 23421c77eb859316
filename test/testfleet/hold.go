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

// holdVariable makes a process hold its memory, and peekVariable help it. shareVariable says how many others share
// that memory.
const (
	holdVariable  = "TESTFLEET_HOLD"
	peekVariable  = "TESTFLEET_PEEK"
	shareVariable = "TESTFLEET_SHARE"
)

// Held is a process that has its memory held: who reads its arguments or its environment waits until the file
// answers that it was started with, and then again. Another process reads a page of that file through its /proc/PID/mem, which
// takes the lock on the address space for reading while it waits for the file (__access_remote_vm in
// mm/memory.c, Linux 6.12), and it waits to change its mappings, so that no further reader is let in.
type Held struct {
	PID   int
	parts []*exec.Cmd
}

// StartHeld starts one with these arguments, which holds its memory by a file such as that of [MountMute] or [MountSlow]. Main or TestMain
// must begin with [Main]. The caller must first release the file, and then Stop it.
func StartHeld(file string, argv ...string) (*Held, error) { return StartHeldByMany(0, file, argv...) }

// StartHeldByMany does the same, and has as many other processes share the memory. They end with the first one.
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

// Stop ends it, and waits for its end, which comes only when the file has answered.
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
			runtime.LockOSThread() // a thread that is there already: none can be started any more then
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

// changers is how many threads change the mappings where many are to be held up: one waits also when another was let
// in. Otherwise it is one, which cannot be kept from its call by the others.
const changers = 3

// change waits for the lock for writing again and again.
func change() {
	const nowhere = 1 << 16 // nothing is mapped there
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
	for { // a file that answers is read anew
		_, _, _ = unix.RawSyscall6(unix.SYS_PREAD64, uintptr(memory), uintptr(unsafe.Pointer(&one)), 1, uintptr(at), 0, 0)
	}
}

// share starts those who share the memory of this process.
func share(others int) error {
	if others == 0 {
		return nil
	}
	// The runtime does not know of the threads that wait, and must not wait for them.
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

// sharer starts a process with the memory, and the stack, of this thread (clone(2)), which tells so and pauses for as
// long as this thread lives, which waits for its end.
//
//go:norace
//go:nosplit
func sharer(told uintptr) {
	const flags = unix.CLONE_VM | unix.CLONE_VFORK | uintptr(unix.SIGCHLD)
	if pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0); pid != 0 {
		return
	}
	var one byte
	_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, told, uintptr(unsafe.Pointer(&one)), 1)
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
	}
}
