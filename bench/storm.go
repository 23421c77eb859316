// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/testfleet"
)

const (
	// stormFor is the duration of a storm on a machine that keeps up.
	stormFor = 5 * time.Second
	// stormRate is the number of programs that are started in a second, as by a compiler.
	stormRate = 2000
	// perDriver is the number of programs of a driver: itself and two children.
	perDriver = 3
)

// stormMaker starts processes as a build does: a driver starts a compiler, waits for it, and starts an assembler. All
// three are static programs of one page that do nothing else, so that the machine can start enough of them.
type stormMaker struct{ driver string }

func newStormMaker(dir string) (*stormMaker, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("make a storm on %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	t, child := &stormMaker{filepath.Join(dir, "cc")}, filepath.Join(dir, "cc1")
	leaf := []byte{0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05} // exit(0)
	return t, errors.Join(
		testfleet.WriteProgram(child, testfleet.StaticProgram(elf.EM_X86_64, leaf)),
		testfleet.WriteProgram(t.driver, testfleet.StaticProgram(elf.EM_X86_64, append(append(bytes.Clone(driving), child...), 0))),
	)
}

// commands are command lines of a compiler, from 50 to 2,000 bytes.
var commands = func() (all [][]string) {
	for _, length := range []int{50, 200, 500, 1000, 2000} {
		args := []string{"/usr/bin/cc", "-c", "a-file.c", "-o", "a-file.o"}
		for n := len(strings.Join(args, " ")) + 1; n < length; n += len("-I/usr/include/a") + 1 {
			args = append(args, "-I/usr/include/a")
		}
		all = append(all, args)
	}
	return all
}()

// storm starts the programs of a duration, none of them before its time. It returns when all have ended.
func (t *stormMaker) storm(ctx context.Context, long time.Duration) (programs int, err error) {
	drivers := int64(long.Seconds() * stormRate / perDriver)
	var next atomic.Int64
	begin, workers := time.Now(), 2*runtime.NumCPU()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < drivers && errs[w] == nil; i = next.Add(1) - 1 {
				turn := begin.Add(time.Duration(i) * long / time.Duration(drivers))
				if errs[w] = poll.Sleep(ctx, time.Until(turn)); errs[w] == nil {
					errs[w] = t.compile(commands[i%int64(len(commands))])
				}
			}
		})
	}
	wg.Wait()
	return int(drivers) * perDriver, errors.Join(errs...)
}

// compile runs one driver.
func (t *stormMaker) compile(args []string) error {
	process, err := os.StartProcess(t.driver, args, &os.ProcAttr{})
	if err != nil {
		return err
	}
	state, err := process.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %s", t.driver, state)
	}
	return err
}

// driving is machine code. The path of a program follows it. It starts that program with the driver's own arguments,
// and waits for it, twice. It exits with 0 if both did.
var driving = []byte{
	0x48, 0x8d, 0x6c, 0x24, 0x08, // lea rbp, [rsp+8]: the arguments
	0x48, 0x83, 0xec, 0x10, // sub rsp, 16: room for a status
	0xbb, 0x02, 0x00, 0x00, 0x00, // mov ebx, 2
	0x45, 0x31, 0xe4, // xor r12d, r12d
	0xb8, 0x3a, 0x00, 0x00, 0x00, // again: mov eax, vfork
	0x0f, 0x05, // syscall
	0x85, 0xc0, // test eax, eax
	0x75, 0x1f, // jnz parent
	0x48, 0x8d, 0x3d, 0x3f, 0x00, 0x00, 0x00, // lea rdi, the path
	0x48, 0x89, 0xee, // mov rsi, rbp
	0x31, 0xd2, // xor edx, edx
	0xb8, 0x3b, 0x00, 0x00, 0x00, // mov eax, execve
	0x0f, 0x05, // syscall
	0xbf, 0x7f, 0x00, 0x00, 0x00, // mov edi, 127
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, exit
	0x0f, 0x05, // syscall
	0x83, 0xcf, 0xff, // parent: or edi, -1
	0x48, 0x89, 0xe6, // mov rsi, rsp
	0x31, 0xd2, // xor edx, edx
	0x45, 0x31, 0xd2, // xor r10d, r10d
	0xb8, 0x3d, 0x00, 0x00, 0x00, // mov eax, wait4
	0x0f, 0x05, // syscall
	0x44, 0x0b, 0x24, 0x24, // or r12d, [rsp]
	0xff, 0xcb, // dec ebx
	0x75, 0xbc, // jnz again
	0x44, 0x89, 0xe7, // mov edi, r12d
	0xc1, 0xef, 0x08, // shr edi, 8: the status that it exited with
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, exit
	0x0f, 0x05, // syscall
}
