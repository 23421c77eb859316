// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Crowd is a large number of idle processes, for measurements of what they cost. Some have the name and the argument of
// a server, and all have the upgrade variable. On amd64 all have a handler for SIGUSR1 that does nothing, which costs
// almost nothing; elsewhere the signal would end them.
type Crowd struct {
	pids []int
	// pidMax is the former value of kernel.pid_max, if it was raised.
	pidMax string
}

const pidMaxFile = "/proc/sys/kernel/pid_max"

// CrowdOptions are the properties of a crowd.
type CrowdOptions struct {
	// Dir is the directory for the program, and UpgradeBin the value of the upgrade variable.
	Dir, UpgradeBin string
	// Every is the number of processes per process that looks like a server, a hundred by default.
	Every int
	// Upgrades makes all of them servers that exec UpgradeBin at SIGUSR1. They also run from there: the program is
	// written to that path. Only amd64 is supported.
	Upgrades bool
	// Argv0 is argv[0] of those servers, "rag-rat" by default.
	Argv0 string
	// Credential is the user that they run as; nil: the user of this process.
	Credential *Credential
	// Each gives process i its own UpgradeBin and Credential. With Upgrades, the caller has written each program with
	// WriteUpgrading.
	Each func(i int) (upgradeBin string, user *Credential)
	// OwnMounts gives each a mount namespace of its own, which needs root.
	OwnMounts bool
}

// everyHundredth is the default of [CrowdOptions.Every].
const everyHundredth = 100

// StartCrowd starts n processes. It raises kernel.pid_max if that is too low, which needs root. The caller must Stop
// the crowd.
func StartCrowd(n int, o CrowdOptions) (*Crowd, error) {
	o.Every, o.Argv0 = cmp.Or(o.Every, everyHundredth), cmp.Or(o.Argv0, Name)
	c := &Crowd{pids: make([]int, n)}
	path, err := o.program()
	if err == nil {
		err = c.makeRoom()
	}
	if err == nil {
		err = c.start(path, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a crowd of %d: %w", n, err), c.Stop())
	}
	return c, nil
}

// crowdStarters is the number of concurrent forks.
const crowdStarters = 8

func (c *Crowd) start(path string, o CrowdOptions) error {
	errs := make([]error, crowdStarters)
	var wg sync.WaitGroup
	for s := range crowdStarters {
		wg.Go(func() {
			for i := s; i < len(c.pids) && errs[s] == nil; i += crowdStarters {
				c.pids[i], errs[s] = startIdle(path, o, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// startIdle uses ForkExec, because os.StartProcess would keep a descriptor for each process.
func startIdle(path string, o CrowdOptions, i int) (int, error) {
	if o.Each != nil {
		o.UpgradeBin, o.Credential = o.Each(i)
	}
	if o.Upgrades {
		path = o.UpgradeBin
	}
	args := []string{path, forEver}
	if o.Upgrades || (i+1)%o.Every == 0 {
		args = []string{o.Argv0, forEver, subcommand}
	}
	attr := &syscall.ProcAttr{Env: []string{upgradeVariable + "=" + o.UpgradeBin}, Sys: &syscall.SysProcAttr{}}
	if o.Credential != nil {
		attr.Sys.Credential = o.Credential.of()
	}
	if o.OwnMounts {
		attr.Sys.Cloneflags = syscall.CLONE_NEWNS
	}
	return syscall.ForkExec(path, args, attr)
}

// PIDs returns the PIDs of the crowd.
func (c *Crowd) PIDs() []int { return c.pids }

// Stop ends and reaps the processes, and restores kernel.pid_max.
func (c *Crowd) Stop() error {
	for _, pid := range c.pids {
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // not reaped yet, so the PID is not reused
		}
	}
	for _, pid := range c.pids {
		if pid > 0 {
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
	c.pids = nil
	if c.pidMax == "" {
		return nil
	}
	return os.WriteFile(pidMaxFile, []byte(c.pidMax), 0)
}

// makeRoom raises pid_max to four times the number of processes, if it is below twice that number.
func (c *Crowd) makeRoom() error {
	content, err := os.ReadFile(pidMaxFile)
	if err != nil {
		return err
	}
	was := strings.TrimSpace(string(content))
	n := len(c.pids)
	if now, err := strconv.Atoi(was); err == nil && now >= 2*n {
		return nil
	}
	c.pidMax = was
	return os.WriteFile(pidMaxFile, []byte(strconv.Itoa(4*n)), 0)
}

// forEver is the argument of every process. With it, sleep(1) is idle as well.
const forEver = "infinity"

// program writes the program of the crowd.
func (o CrowdOptions) program() (path string, err error) {
	if !o.Upgrades {
		return idler(o.Dir)
	}
	if o.Each != nil {
		return "", nil
	}
	return o.UpgradeBin, WriteUpgrading(o.UpgradeBin)
}

// WriteUpgrading writes the program of a server that execs the same path at SIGUSR1. Only amd64 is supported.
func WriteUpgrading(path string) error {
	if runtime.GOARCH != "amd64" {
		return errors.ErrUnsupported
	}
	code := append(bytes.Clone(upgrading), path...)
	return WriteProgram(path, StaticProgram(elf.EM_X86_64, append(code, 0)))
}

// WriteProgram writes an executable file. It prevents forks of this process meanwhile: a child would hold the file open
// for writing until its own exec, and an exec of the file would fail with ETXTBSY.
func WriteProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o755)
}

// upgrading is the code of pausing with a handler that execs the path behind the code, with the arguments and the
// environment of the process. The signal is not blocked in the handler, and so not after the exec.
var upgrading = []byte{
	0x48, 0x89, 0xe3, // mov rbx, rsp: the address of the arguments
	0xbf, 0x0a, 0x00, 0x00, 0x00, // mov edi, SIGUSR1
	0x48, 0x8d, 0x35, 0x49, 0x00, 0x00, 0x00, // lea rsi, the action below
	0x31, 0xd2, // xor edx, edx
	0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
	0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, rt_sigaction
	0x0f, 0x05, // syscall
	0x31, 0xff, // xor edi, edi
	0x31, 0xf6, // xor esi, esi
	0x31, 0xd2, // xor edx, edx
	0x45, 0x31, 0xd2, // xor r10d, r10d
	0xb8, 0x0f, 0x01, 0x00, 0x00, // mov eax, ppoll
	0x0f, 0x05, // syscall
	0xeb, 0xee, // jmp to "xor edi, edi"
	0x48, 0x8b, 0x03, // the handler: mov rax, [rbx]
	0x48, 0x8d, 0x73, 0x08, // lea rsi, [rbx+8]
	0x48, 0x8d, 0x54, 0xc3, 0x10, // lea rdx, [rbx+rax*8+16]
	0x48, 0x8d, 0x3d, 0x35, 0x00, 0x00, 0x00, // lea rdi, the path
	0xb8, 0x3b, 0x00, 0x00, 0x00, // mov eax, execve
	0x0f, 0x05, // syscall
	0xbf, 0x46, 0x00, 0x00, 0x00, // mov edi, 70
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, exit
	0x0f, 0x05, // syscall
	0x66, 0x90, // to align the action
	0xa8, 0x00, 0x40, 0x00, 0, 0, 0, 0, // the action: its handler,
	0x00, 0x00, 0x00, 0x44, 0, 0, 0, 0, // SA_RESTORER and SA_NODEFER,
	0, 0, 0, 0, 0, 0, 0, 0, // no restorer, because the handler does not return,
	0, 0, 0, 0, 0, 0, 0, 0, // and no mask
}

// WriteIdle writes the program of an idle process of a crowd.
func WriteIdle(path string) error {
	code, machine := pausing()
	if code == nil {
		return errors.ErrUnsupported
	}
	return WriteProgram(path, StaticProgram(machine, code))
}

// idler writes a program that waits for ever. A page of machine code takes a tenth of the memory of sleep(1), and
// starts five times as fast.
func idler(dir string) (path string, err error) {
	path = filepath.Join(dir, "idle")
	if err := WriteIdle(path); !errors.Is(err, errors.ErrUnsupported) {
		return path, err
	}
	return "/bin/sleep", nil
}

// pausing returns the code of "for { ppoll(nil, 0, nil, nil, 0) }". On amd64 it first installs a handler for SIGUSR1
// that returns. The addresses are those of [StaticProgram].
func pausing() ([]byte, elf.Machine) {
	switch runtime.GOARCH {
	case "amd64":
		return []byte{
			0xbf, 0x0a, 0x00, 0x00, 0x00, // mov edi, SIGUSR1
			0xbe, 0xb0, 0x00, 0x40, 0x00, // mov esi, the action below
			0x31, 0xd2, // xor edx, edx
			0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
			0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, rt_sigaction
			0x0f, 0x05, // syscall
			0x31, 0xff, // xor edi, edi
			0x31, 0xf6, // xor esi, esi
			0x31, 0xd2, // xor edx, edx
			0x45, 0x31, 0xd2, // xor r10d, r10d
			0xb8, 0x0f, 0x01, 0x00, 0x00, // mov eax, 271
			0x0f, 0x05, // syscall
			0xeb, 0xee, // jmp to "xor edi, edi"
			0xc3,                         // ret: the handler
			0xb8, 0x0f, 0x00, 0x00, 0x00, // mov eax, rt_sigreturn: what it returns to
			0x0f, 0x05, // syscall
			0x90, 0x90, 0x90, 0x90, 0x90, // to align the action
			0xa3, 0x00, 0x40, 0x00, 0, 0, 0, 0, // the action: its handler,
			0x00, 0x00, 0x00, 0x04, 0, 0, 0, 0, // SA_RESTORER,
			0xa4, 0x00, 0x40, 0x00, 0, 0, 0, 0, // the restorer,
			0, 0, 0, 0, 0, 0, 0, 0, // and no mask
		}, elf.EM_X86_64
	case "arm64":
		var code []byte
		for _, word := range []uint32{
			0xd2800000,                                     // mov x0, 0
			0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, // and x1 to x4
			0xd2800928, // mov x8, 73
			0xd4000001, // svc 0
			0x17fffff9, // b to the start
		} {
			code = binary.LittleEndian.AppendUint32(code, word)
		}
		return code, elf.EM_AARCH64
	}
	return nil, 0
}

// StaticProgram returns a static executable of one segment, which is loaded at 0x400000 with the code behind 120 bytes
// of headers.
func StaticProgram(machine elf.Machine, code []byte) []byte {
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	var out bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
			Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
		},
	} {
		_ = binary.Write(&out, binary.LittleEndian, part) // a Buffer never fails
	}
	out.Write(code)
	return out.Bytes()
}
