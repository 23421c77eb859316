// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ebpf-upgrader/test/kernels/guest"
)

// boot runs a kernel with an initramfs in an emulated machine until the machine turns itself off. The file console
// gets its output at once, so that a user can follow it. No KVM is needed.
func boot(ctx context.Context, kernel, initramfs, console string) error {
	f, err := os.Create(console)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-cpu", processor, "-smp", "2", "-m", "3072", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", kernel, "-initrd", initramfs, "-append", kernelLine)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("boot %s: %w", kernel, errors.Join(err, ctx.Err()))
	}
	return nil
}

// processor has all features of the emulation but the slow ones. With erms and fsrm the kernel copies and clears
// memory by string instructions (arch/x86/lib/memcpy_64.S and copy_user_64.S, Linux 6.12). They are emulated byte by
// byte and take most of the time without hardware virtualisation. Vectors wider than those of the emulation are slow
// as well, and so is each walk through five levels of page tables instead of four.
const processor = "max,erms=off,fsrm=off,la57=off,avx=off,avx2=off"

// kernelLine makes a hanging kernel print its stacks and end: after two minutes without progress of a processor, and
// after 40 s of a processor in one place, which RCU notices (sysctl.* on the line: Linux 5.8). Mitigations are off:
// they cost an emulated processor more than a real one, and no test depends on them.
const kernelLine = "console=ttyS0 panic=-1 loglevel=5 watchdog_thresh=60 softlockup_panic=1 softlockup_all_cpu_backtrace=1 " +
	"sysctl.kernel.panic_on_rcu_stall=1 rcupdate.rcu_cpu_stall_timeout=40 " +
	"mitigations=off init_on_alloc=0 audit=0 apparmor=0"

// parse finds the results of the steps on a console. It returns those that can be read, even with an error.
func parse(console []byte) ([]guest.Result, error) {
	var results []guest.Result
	var errs []error
	for line := range bytes.Lines(console) {
		text, marked := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte(guest.Mark))
		if !marked {
			continue
		}
		var r guest.Result
		if err := json.Unmarshal(text, &r); err != nil {
			errs = append(errs, fmt.Errorf("read the result of a step: %w", err))
			continue
		}
		results = append(results, r)
	}
	return results, errors.Join(errs...)
}

// failureLines returns the messages of failed tests and the end of the output.
func failureLines(output string) string {
	var messages strings.Builder
	for line := range strings.Lines(output) {
		if strings.Contains(line, "_test.go:") || strings.Contains(line, "--- FAIL") {
			messages.WriteString(line)
		}
	}
	return messages.String() + "...\n" + string(tail([]byte(output)))
}

func tail(text []byte) []byte { return text[max(0, len(text)-4<<10):] }

// writeInitramfs packs the programs, their tools, further files by their paths, and the plan.
func writeInitramfs(path string, tools, programs, files map[string]string, plan guest.Plan) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	a := newArchive(f)
	a.base(tools)
	for name, from := range programs {
		at := "bin/" + name
		switch name {
		case "init":
			at = name
		case "sleep": // the other programs use the sleep of busybox
			at = strings.TrimPrefix(ownSleep, "/") + "/sleep"
		}
		a.copy(at, from)
	}
	a.addAll(files)
	text, err := json.Marshal(plan)
	a.file(strings.TrimPrefix(guest.PlanFile, "/"), text)
	return errors.Join(err, a.close(), f.Close())
}
