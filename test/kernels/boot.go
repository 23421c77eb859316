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

// boot runs a kernel with an initramfs in an emulated machine until that turns itself off. What it writes to
// its console stands in the file console at once, so that whoever waits can look. It needs no KVM.
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

// processor is all that the emulation can do but what it does slowly. Where there are erms and fsrm, the kernel copies
// and clears memory by string instructions (arch/x86/lib/memcpy_64.S and copy_user_64.S, Linux 6.12), which are emulated byte by
// byte; without hardware virtualisation they take most of the time. So do vectors that are wider than the
// emulation's own, and every walk through five levels of page tables instead of four.
const processor = "max,erms=off,fsrm=off,la57=off,avx=off,avx2=off"

// kernelLine has a kernel whose processors stand still for two minutes say where they stand, and end, and one of which a
// processor stays in one place for 40 s, which RCU notices (sysctl.* on the line: Linux 5.8). What keeps
// attackers away costs an emulated processor more than a real one, and tests nothing of ours.
const kernelLine = "console=ttyS0 panic=-1 loglevel=5 watchdog_thresh=60 softlockup_panic=1 softlockup_all_cpu_backtrace=1 " +
	"sysctl.kernel.panic_on_rcu_stall=1 rcupdate.rcu_cpu_stall_timeout=40 " +
	"mitigations=off init_on_alloc=0 audit=0 apparmor=0"

// parse finds on a console what the first process said of its steps. It answers with those that can be read,
// also when it fails.
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

// telling is what the tests that failed say, and the end of all.
func telling(output string) string {
	var said strings.Builder
	for line := range strings.Lines(output) {
		if strings.Contains(line, "_test.go:") || strings.Contains(line, "--- FAIL") {
			said.WriteString(line)
		}
	}
	return said.String() + "...\n" + string(tail([]byte(output)))
}

func tail(text []byte) []byte { return text[max(0, len(text)-4<<10):] }

// writeInitramfs packs the programs, what they expect, files by their paths, and the plan.
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
		case "sleep": // busybox has the one of the others
			at = strings.TrimPrefix(ownSleep, "/") + "/sleep"
		}
		a.copy(at, from)
	}
	a.addAll(files)
	text, err := json.Marshal(plan)
	a.file(strings.TrimPrefix(guest.PlanFile, "/"), text)
	return errors.Join(err, a.close(), f.Close())
}
