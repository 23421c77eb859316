// SPDX-License-Identifier: MIT

//go:build linux

package fallback_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// everyHundredth of a crowd looks like a server.
const everyHundredth = 100

// crowd starts as many idle processes as IDLE says, and ends them with the benchmark.
func crowd(b *testing.B) {
	b.Helper()
	text := os.Getenv("IDLE")
	if text == "" {
		return // the host as it is
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		b.Fatalf("IDLE=%q is no number of processes", text)
	}
	makeRoom(b, n)
	path, argument := idler(b)
	var wg sync.WaitGroup
	pids := make([]int, n)
	b.Cleanup(func() { disperse(pids) })
	const starters = 8
	for s := range starters {
		wg.Go(func() {
			for i := s; i < n; i += starters {
				pids[i] = startIdle(b, path, argument, i%everyHundredth == 0)
			}
		})
	}
	wg.Wait()
}

// startIdle uses ForkExec, because os.StartProcess would hold a descriptor of each.
func startIdle(b *testing.B, path, argument string, asServer bool) int {
	args := []string{path, argument}
	if asServer {
		args = []string{"rag-rat", argument, "mcp"}
	}
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: []string{"RAG_RAT_UPGRADE_BIN=/usr/bin/rag-rat"}})
	if err != nil {
		b.Errorf("start an idle process: %v", err)
	}
	return pid
}

// disperse ends processes that were not reaped yet, so that their numbers are theirs.
func disperse(pids []int) {
	for _, pid := range pids {
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, pid := range pids {
		if pid > 0 {
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// makeRoom raises pid_max for as long as the benchmark runs, when n more may not fit.
func makeRoom(b *testing.B, n int) {
	b.Helper()
	const file = "/proc/sys/kernel/pid_max"
	content, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	was := strings.TrimSpace(string(content))
	if now, err := strconv.Atoi(was); err == nil && now >= 2*n {
		return
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(4*n)), 0); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.WriteFile(file, []byte(was), 0) })
}

// idler is a program that waits for ever, and the argument that makes it do so. A page of machine
// code takes a tenth of the memory of a sleep(1) and starts five times as fast.
func idler(b *testing.B) (path, argument string) {
	b.Helper()
	code, machine := pausing()
	if code == nil {
		return "/bin/sleep", "infinity"
	}
	path = filepath.Join(b.TempDir(), "idle")
	if err := os.WriteFile(path, program(machine, code), 0o755); err != nil { //nolint:gosec // it is to be run
		b.Fatal(err)
	}
	return path, "infinity"
}

// pausing is "for { ppoll(nil, 0, nil, nil, 0) }".
func pausing() ([]byte, elf.Machine) {
	switch runtime.GOARCH {
	case "amd64":
		return []byte{
			0x31, 0xff, // xor edi, edi
			0x31, 0xf6, // xor esi, esi
			0x31, 0xd2, // xor edx, edx
			0x45, 0x31, 0xd2, // xor r10d, r10d
			0xb8, 0x0f, 0x01, 0x00, 0x00, // mov eax, 271
			0x0f, 0x05, // syscall
			0xeb, 0xee, // jmp to the start
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

// program is a static executable of one segment.
func program(machine elf.Machine, code []byte) []byte {
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
		_ = binary.Write(&out, binary.LittleEndian, part) // a Buffer takes everything
	}
	out.Write(code)
	return out.Bytes()
}
