// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// A process can map anything where its arguments and environment are. The kernel does not read files there (FOLL_ANON in
// fs/proc/base.c, since Linux 4.17, commit 7f7ccc2ccc2e), so the text ends there.
func TestMemory_MappedFromSilentFile_DoesNotBlock(t *testing.T) {
	t.Parallel()
	needRoot(t)
	fs, file := open(t), filepath.Join(mounted(t, testfleet.MountMute), testfleet.Mute)
	long := strings.Repeat("x", 1<<14)
	silent := func(what string) *running {
		return server(t, program{
			role: "silent " + what + "=" + file, args: []string{"rag-rat", long, "mcp"},
			env: []string{"LONG=" + long, variable + "=/bin/rag-rat"},
		})
	}
	if p := inspect(t, fs, silent("arguments")); !p.Named || p.Subcommand {
		t.Errorf("named %t, subcommand %t, although the subcommand cannot be read", p.Named, p.Subcommand)
	}
	if p := inspect(t, fs, silent("environment")); !p.Subcommand || p.VariableSet {
		t.Errorf("subcommand %t, variable %q, although the variable cannot be read", p.Subcommand, p.Variable)
	}
}

// A process can set the addresses of its arguments and environment.
func TestMemory_TerabyteOfArguments_DoesNotBlock(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for role, fact := range map[string]selector.Fact{
		"endless arguments": selector.FactCmdline, "endless environment": selector.FactEnvironment,
	} {
		if p := inspectInTime(t, fs, server(t, program{role: role}).pid); p.Unreadable.Fact != fact {
			t.Errorf("%s: %+v, want it unreadable", role, p)
		}
	}
}

// A process can hold the lock under which the kernel reads arguments and environment for any time.
func TestMemory_HeldLock_TimesOut(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountMute(dir)
	if err != nil {
		t.Fatal(err)
	}
	held, err := testfleet.StartHeld(filepath.Join(dir, testfleet.Mute), "proc-test", "mcp")
	defer held.Stop()
	defer func() { _ = release() }()
	if err != nil {
		t.Fatal(err)
	}
	honest := server(t, program{})
	fs := open(t)
	for range 3 { // only the first one waits
		p := inspectInTime(t, fs, selector.PID(held.PID))
		if p.Unreadable.Fact != selector.FactCmdline || p.StartTime == 0 {
			t.Errorf("unreadable %+v, start time %d, want an unreadable command line and an identity", p.Unreadable, p.StartTime)
		}
	}
	if p := inspectInTime(t, fs, honest.pid); !p.Subcommand {
		t.Errorf("another process of the same user is unreadable: %+v", p)
	}
}

// inspectInTime fails when an inspection takes more than a second.
func inspectInTime(t *testing.T, fs *procfs.FS, pid selector.PID) selector.Process {
	t.Helper()
	inspections := make(chan selector.Process, 1)
	go func() {
		p, _ := fs.Inspect(pid, query())
		inspections <- p
	}()
	select {
	case p := <-inspections:
		return p
	case <-time.After(time.Second):
		t.Fatal("the inspection takes more than a second")
		return selector.Process{}
	}
}

// No read starts while an earlier read of the same process is stuck.
func TestMemory_RefusedRead_LeaksNoDescriptor(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	release, err := testfleet.MountMute(dir)
	if err != nil {
		t.Fatal(err)
	}
	held, err := testfleet.StartHeld(filepath.Join(dir, testfleet.Mute), "proc-test", "mcp")
	t.Cleanup(func() {
		_ = release()
		held.Stop()
	})
	if err != nil {
		t.Fatal(err)
	}
	fs := open(t)
	inspect := func() {
		if p := inspectInTime(t, fs, selector.PID(held.PID)); !p.Unreadable.IsTemporary {
			t.Fatalf("%+v, want it temporarily unreadable", p)
		}
	}
	inspect() // abandons a read
	before := descriptors(t)
	const inspections = 50
	for range inspections {
		inspect()
	}
	if after := descriptors(t); after >= before+inspections {
		t.Errorf("%d descriptors after %d refused inspections, %d before", after, inspections, before)
	}
}

// explain shows the reason.
func TestEnviron_VariableBehindMiB_SaysWhy(t *testing.T) {
	t.Parallel()
	fs := open(t)
	for blocks, why := range map[int]string{8: "", 10: "environ: longer than 1 MiB"} {
		var env []string
		for i := range blocks {
			env = append(env, fmt.Sprintf("X%d=%s", i, strings.Repeat("x", 120<<10)))
		}
		p := inspect(t, fs, server(t, program{env: append(env, variable+"=/bin/sh")}))
		rule := selector.Rule{Pattern: query().Pattern, Variable: variable, Signal: "SIGUSR1"}
		d := rule.Judge(p)
		steps := rule.Explain(p)
		last := steps[len(steps)-1].Read
		if isCut := d.Verdict == selector.UnreadableFacts; isCut != (why != "") || isCut && (d.Detail != why || last != "cannot read "+why) {
			t.Errorf("%d KiB of environment: %+v, %q", 120*blocks, d, last)
		}
	}
}

// The buffers for long texts are used again.
func TestEnviron_Long_AllocatesNoBuffer(t *testing.T) {
	const inspections = 100 // under the race detector a sync.Pool drops a quarter of what is put
	fs := open(t)
	r := server(t, program{env: append(slices.Repeat([]string{"X=" + strings.Repeat("x", 120<<10)}, 8), variable+"=/bin/sh")})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range inspections {
		if p := inspect(t, fs, r); !p.VariableSet {
			t.Fatalf("not read: %+v", p)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / inspections; each > 512<<10 {
		t.Errorf("an inspection of a process with 960 KiB of environment allocates %d KiB", each>>10)
	}
}

// What is kept of a process is bounded, whatever its user makes it say. The same process is inspected many times.
func TestKept_LongArguments_UseLittleMemory(t *testing.T) {
	const processes, limit = 512, 8 << 10
	fs := open(t)
	path := "/" + strings.Repeat("\x01", 4000) // each byte takes four in quotes
	r := server(t, program{args: append([]string{"rag-rat", "mcp"}, slices.Repeat([]string{"x"}, 2048)...), env: []string{variable + "=" + path}})
	if args := inspect(t, fs, r).Args; len(args) > 32 || args[len(args)-1] != "(2034 more)" {
		t.Errorf("%d arguments are kept: %q", len(args), args)
	}
	rule := selector.Rule{Pattern: query().Pattern, Variable: variable, Signal: "SIGUSR1"}
	type facts struct {
		args             []string
		variable, detail string
	}
	kept := make([]facts, processes)
	var before, after runtime.MemStats
	free := func() { runtime.GC(); runtime.GC() } // the second one empties the pools
	free()
	runtime.ReadMemStats(&before)
	for i := range kept {
		p := inspect(t, fs, r)
		kept[i] = facts{p.Args, p.Variable, rule.Judge(p).Detail}
	}
	free()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / processes
	t.Logf("%d bytes are kept of a process, %d MiB of the 4,096 that a user may have", each, each*4096>>20)
	if each > limit || len(kept[0].variable) != len(path) {
		t.Errorf("%d bytes are kept of a process with 4 KiB of arguments and a path of 4 KiB, want at most %d", each, limit)
	}
	runtime.KeepAlive(kept)
}
