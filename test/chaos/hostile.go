// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// hostileUser is another user that the service serves.
const hostileUser = 64998

const (
	// hostileServers is how many servers the hostile user has at a time. Each names an install of its own.
	hostileServers = 20
	// hostileGroups is NGROUPS_MAX of include/uapi/linux/limits.h.
	hostileGroups = 65536
	// hostileFolders is the depth of the chain of folders in which the installs are.
	hostileFolders = 60
)

// prepareHostile makes the folders of the hostile user, and the program of its servers.
func (a *arena) prepareHostile(installs string) error {
	a.hostileDir = filepath.Join(installs, "hostile", strings.Repeat(strings.Repeat("d", 50)+"/", hostileFolders))
	if err := os.MkdirAll(a.hostileDir, 0o755); err != nil {
		return err
	}
	return testfleet.WriteIdle(filepath.Join(installs, "hostile", "idle"))
}

// hostile lets the hostile user appear and disappear until ctx ends: servers with all groups that a process may have, with
// installs behind many folders, which signal each other.
func (a *arena) hostile(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, 500*time.Millisecond, 3*time.Second) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{"rag-rat", "hostile", a.hostileDir, "mcp"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := a.children.startAs(cmd, &syscall.Credential{Uid: hostileUser, Gid: hostileUser, Groups: allGroups()}); err != nil {
			return fmt.Errorf("start the hostile user: %w", err)
		}
		pause(ctx, r, 500*time.Millisecond, 3*time.Second)
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("end the hostile user: %w: %s", err, stderr.String())
		}
		a.count(func(r *result) { r.Hostile++ })
	}
	return nil
}

func allGroups() []uint32 {
	groups := make([]uint32, hostileGroups)
	for i := range groups {
		groups[i] = 100_000 + uint32(i)
	}
	return groups
}

// beHostile starts servers that name installs in a directory, and signals each 50 times a second: hostile DIR mcp. It ends
// them at SIGTERM. Where the PIDs have run out, there are fewer servers.
func beHostile(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	idle := filepath.Join(strings.TrimSuffix(dir, strings.Repeat(strings.Repeat("d", 50)+"/", hostileFolders)), "idle")
	var pids []int
	for i := range hostileServers {
		path := filepath.Join(dir, strconv.Itoa(i))
		pid, err := syscall.ForkExec(idle, []string{"rag-rat", "infinity", "mcp"}, &syscall.ProcAttr{
			Env: []string{"RAG_RAT_UPGRADE_BIN=" + path}, Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
		})
		if err == nil {
			pids = append(pids, pid)
		}
	}
	for ctx.Err() == nil {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGUSR1)
		}
		_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(20 * time.Millisecond)}, nil)
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return nil
}
