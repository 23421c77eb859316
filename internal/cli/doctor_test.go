// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// diagnosed runs the doctor as a process, and returns what it says of a check.
func diagnosed(t *testing.T, check string) finding {
	t.Helper()
	return foundBy(t, exec.Command(thisBinary(t), "doctor", "-o", "json", "--run-dir", t.TempDir(), "--state-dir", t.TempDir()), check)
}

// foundBy is what a doctor says of a check as JSON.
func foundBy(t *testing.T, cmd *exec.Cmd, check string) finding {
	t.Helper()
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, _ := cmd.Output() // its code says whether BPF can be used
	var report struct {
		Checks []finding `json:"checks"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("doctor wrote %q: %v", out, err)
	}
	i := slices.IndexFunc(report.Checks, func(f finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("there is no check %q in %+v", check, report.Checks)
	}
	return report.Checks[i]
}

// refuseBPF has the kernel refuse bpf(2) to this thread and its children.
func refuseBPF(t *testing.T) {
	t.Helper()
	const answer = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: answer},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	must(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(t, unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0))
}

// withFilter is what the doctor says of a check where a filter refuses bpf(2).
func withFilter(t *testing.T, check string) finding {
	t.Helper()
	done := make(chan finding)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		refuseBPF(t)
		done <- diagnosed(t, check)
	}()
	return <-done
}

// TestDoctor_SeccompFilter_IsNamed: such a filter shows as a missing permission elsewhere.
func TestDoctor_SeccompFilter_IsNamed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if f := diagnosed(t, "seccomp"); !f.OK {
		t.Errorf("without a filter of this test: %+v", f)
	}
	if f := withFilter(t, "seccomp"); f.OK || !strings.Contains(f.Found, "refuses bpf(2)") || !strings.Contains(f.Do, "SystemCallFilter=bpf") {
		t.Errorf("with a filter: %+v", f)
	}
}

// TestDoctor_Inotify_CountsThisUser: 300 watches of one more instance.
func TestDoctor_Inotify_CountsThisUser(t *testing.T) {
	uid := uint32(os.Geteuid())
	watches, instances, _ := usedInotify(uid)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	top := t.TempDir()
	const n = 300
	for i := range n {
		dir := filepath.Join(top, string(rune('a'+i%26))+string(rune('a'+i/26)))
		must(t, os.Mkdir(dir, 0o755))
		_, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
		must(t, err)
	}
	moreWatches, moreInstances, isAll := usedInotify(uid)
	if got := moreWatches - watches; isAll && got < n*9/10 { // other tests add and remove theirs meanwhile
		t.Errorf("%d more watches are counted, want %d", got, n)
	}
	if moreInstances == 0 || instances > moreInstances+64 {
		t.Errorf("%d instances, and then %d", instances, moreInstances)
	}
}

// TestDoctor_Directory_IsLeftAsItWas also where it cannot be written.
func TestDoctor_Directory_IsLeftAsItWas(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	before, err := os.Stat(dir)
	must(t, err)
	if f := checkWritable("run directory", dir); !f.OK {
		t.Errorf("a directory: %+v", f)
	}
	after, err := os.Stat(dir)
	must(t, err)
	if entries, _ := os.ReadDir(dir); len(entries) > 0 || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the check has left %v", entries)
	}
	full := filepath.Join(dir, "full")
	must(t, os.Mkdir(full, 0o755))
	must(t, unix.Mount("none", full, "tmpfs", 0, "size=4k"))
	defer func() { _ = unix.Unmount(full, 0) }()
	must(t, os.WriteFile(filepath.Join(full, "file"), make([]byte, 4096), 0o600))
	if f := checkWritable("run directory", full); f.OK || !strings.Contains(f.Do, "make room") {
		t.Errorf("a full file system: %+v", f)
	}
	must(t, unix.Mount("none", full, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if f := checkWritable("run directory", filepath.Join(full, "below")); f.OK || !strings.Contains(f.Found, "read-only file system") {
		t.Errorf("a read-only file system: %+v", f)
	}
}
