// SPDX-License-Identifier: MIT

//go:build linux

package procfs_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestMemory_MappedFromSilentFile_DoesNotBlock: arguments and environment are memory of the
// process, and it can map anything there. The kernel does not read them from files (FOLL_ANON in
// fs/proc/base.c, since Linux 4.17, commit 7f7ccc2ccc2e), so they end there.
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

// TestMemory_TerabyteOfArguments_DoesNotBlock: where arguments and environment stand, a process says itself.
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

// TestMemory_HeldLock_TimesOut: the kernel reads arguments and environment of a process under a
// lock that the process can have held for as long as it likes.
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
	for range 3 { // it is not waited for again and again
		p := inspectInTime(t, fs, selector.PID(held.PID))
		if p.Unreadable.Fact != selector.FactCmdline || p.StartTime == 0 {
			t.Errorf("unreadable %+v, started %d, want the command line of a process that is known", p.Unreadable, p.StartTime)
		}
	}
	if p := inspectInTime(t, fs, honest.pid); !p.Subcommand {
		t.Errorf("another process of the same user is not read: %+v", p)
	}
}

// inspectInTime fails when a look takes more than a second.
func inspectInTime(t *testing.T, fs *procfs.FS, pid selector.PID) selector.Process {
	t.Helper()
	looks := make(chan selector.Process, 1)
	go func() {
		p, _ := fs.Inspect(pid, query())
		looks <- p
	}()
	select {
	case p := <-looks:
		return p
	case <-time.After(time.Second):
		t.Fatal("the look takes more than a second")
		return selector.Process{}
	}
}

// TestMemory_RefusedRead_LeaksNoDescriptor: nobody waits for a process whose memory is held already.
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
	look := func() {
		if p := inspectInTime(t, fs, selector.PID(held.PID)); !p.Unreadable.IsTemporary {
			t.Fatalf("%+v, want it to be unreadable for a while", p)
		}
	}
	look() // which leaves somebody behind who waits
	before := descriptors(t)
	const looks = 50
	for range looks {
		look()
	}
	if after := descriptors(t); after >= before+looks {
		t.Errorf("%d descriptors after %d looks that were refused, and %d before", after, looks, before)
	}
}
