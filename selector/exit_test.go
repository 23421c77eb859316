// SPDX-License-Identifier: MIT

package selector_test

import (
	"syscall"
	"testing"

	"ebpf-upgrader/selector"
)

func TestExit_EveryStatus_DecodedAsInSyscall(t *testing.T) {
	t.Parallel()
	for status := range uint32(1 << 16) {
		want := syscall.WaitStatus(status)
		if status&0x7f == 0x7f {
			continue // stopped or continued: the process has not ended
		}
		e := selector.Exit{Known: true, Status: status}
		code, exited := e.Code()
		number, signaled := e.Signal()
		if exited != want.Exited() || exited && code != want.ExitStatus() ||
			signaled != want.Signaled() || signaled && number != int(want.Signal()) ||
			e.IsClean() != (want.Exited() && want.ExitStatus() == 0) {
			t.Fatalf("%#x: exit code %d, %t, signal %d, %t", status, code, exited, number, signaled)
		}
	}
}

func TestExit_Zero_IsUnknown(t *testing.T) {
	t.Parallel()
	var e selector.Exit
	_, exited := e.Code()
	_, signaled := e.Signal()
	if exited || signaled || e.IsClean() {
		t.Errorf("the zero Exit: exited %t, signaled %t, clean %t, want none", exited, signaled, e.IsClean())
	}
}
