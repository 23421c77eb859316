// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ebpf-upgrader/internal/kernels/guest"
)

// boot runs a kernel with an initramfs in an emulated machine until that turns itself off, and answers
// with what its first process said. It needs no KVM.
func boot(ctx context.Context, kernel, initramfs string) ([]guest.Result, error) {
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "3072", "-nographic", "-no-reboot", "-nic", "none",
		"-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 panic=-1 quiet")
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("boot %s: %w\n%s", kernel, errors.Join(err, ctx.Err()), tail(console.Bytes()))
	}
	var results []guest.Result
	lines := bufio.NewScanner(&console)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		text, marked := strings.CutPrefix(strings.TrimRight(lines.Text(), "\r"), guest.Mark)
		if !marked {
			continue
		}
		var r guest.Result
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("boot %s: a result that cannot be read: %w", kernel, err)
		}
		results = append(results, r)
	}
	return results, lines.Err()
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

// writeInitramfs packs the programs, what they expect, and the plan.
func writeInitramfs(path string, tools, programs map[string]string, plan guest.Plan) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	a := newArchive(f)
	a.base(tools)
	for name, from := range programs {
		at := "bin/" + name
		if name == "init" {
			at = name
		}
		a.copy(at, from)
	}
	text, err := json.Marshal(plan)
	a.file(strings.TrimPrefix(guest.PlanFile, "/"), text)
	return errors.Join(err, a.close(), f.Close())
}
