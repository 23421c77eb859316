// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

const (
	// asHuge makes the test binary a stage of hugeProcesses.
	asHuge        = "EBPF_UPGRADER_TEST_AS_HUGE"
	hugeProcesses = 1000
	hugeGroups    = 65_536
)

func init() {
	switch os.Getenv(asHuge) {
	case "maker":
		endIf(makeHuge())
	case "child":
		_, _ = io.ReadFull(os.Stdin, make([]byte, 1)) // the ids are mapped
		endIf(unix.Exec("/proc/self/exe", os.Args, append([]string{asHuge + "=root of its namespace"}, os.Environ()...)))
	case "root of its namespace":
		endIf(beHuge())
	}
}

func endIf(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// makeHuge starts a process in a user namespace of this user, and prints its number.
func makeHuge() error {
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env: append([]string{asHuge + "=child"}, os.Environ()...), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER},
	})
	if err != nil {
		return err
	}
	fmt.Println(child.Pid)
	_, err = child.Wait()
	return err
}

// beHuge takes the groups, and forks the other processes: they share the memory of the environment.
func beHuge() error {
	groups := make([]int, hugeGroups)
	for i := range groups {
		groups[i] = i
	}
	if err := syscall.Setgroups(groups); err != nil {
		return err
	}
	for range hugeProcesses - 1 {
		child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		for child == 0 { // only raw system calls from here on: the runtime's other threads are not here
			_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	fmt.Println("ready")
	select {}
}

// startHuge starts processes with 65,536 groups and 1 MiB of environment, of a user with subordinate ids.
func startHuge(t *testing.T, h *wholeHost) {
	t.Helper()
	cmd := exec.Command(h.newProgramOf(hostile))
	cmd.Args = []string{h.name, "mcp"}
	cmd.Env = []string{asHuge + "=maker"}
	for i := range 8 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("X%d=%s", i, strings.Repeat("x", 120<<10)))
	}
	cmd.Env = append(cmd.Env, upgradeVariable+"="+cmd.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hostile, Gid: hostile}, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	})
	out := bufio.NewReader(stdout)
	line, err := out.ReadString('\n')
	must(t, err)
	for file, first := range map[string]int{"uid_map": hostile, "gid_map": 100_000} {
		count := map[string]int{"uid_map": 1, "gid_map": hugeGroups}[file]
		must(t, os.WriteFile("/proc/"+strings.TrimSpace(line)+"/"+file, fmt.Appendf(nil, "0 %d %d\n", first, count), 0))
	}
	_, err = stdin.Write([]byte{1})
	must(t, err)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// Neither the start nor the servers of another user wait for them.
func TestHostile_HugeProcesses_DelayNoOther(t *testing.T) {
	needRoot(t)
	takesLong(t)
	withEachSource(t, func(t *testing.T, source string) {
		h := newWholeHost(t)
		startHuge(t, h)
		his := h.home(victim)
		servers := h.start(his, victim, 3)
		start := time.Now()
		h.serve(source)
		h.status()
		first := time.Since(start)
		ctx, cancel := context.WithCancel(t.Context())
		longest := make(chan time.Duration, 1)
		client := h.client(t)
		go func() { longest <- slowest(ctx, stillness, func() { _, _ = client.Status(ctx) }) }()
		eventually(t, "the install of the other user is ready", func() bool { return h.status().Verdicts[selector.UpToDate] >= 3 })
		known := time.Since(start)
		his.replace()
		his.allUpgraded(servers)
		upgraded := time.Since(start)
		eventually(t, "the reason is reported", func() bool {
			known, err := client.Servers(within(t))
			must(t, err)
			return slices.ContainsFunc(known, func(s api.ServerStatus) bool { return strings.Contains(s.Detail, "has more than 1024 groups") })
		})
		cancel()
		slowest := max(first, <-longest)
		t.Logf("answers took %s at most; the other user's servers were known after %s and upgraded after %s", slowest, known, upgraded)
		if allowed := allowedStop(t); slowest > allowed || upgraded > 5*allowed {
			t.Errorf("want answers within %s, and the other user's servers upgraded within %s", allowed, 5*allowed)
		}
	})
}
