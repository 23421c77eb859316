// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
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
	// longestString is MAX_ARG_STRLEN of include/uapi/linux/binfmts.h, without the NUL.
	longestString = 32*4096 - 1
)

// prepareHostile makes the folders of the hostile user, and the program of its servers.
func (a *arena) prepareHostile(installs string) error {
	a.hostileDir = filepath.Join(installs, "hostile", strings.Repeat(strings.Repeat("d", 50)+"/", hostileFolders)) + "/"
	if err := os.MkdirAll(a.hostileDir, 0o755); err != nil {
		return err
	}
	if err := mountControl(); err != nil {
		return err
	}
	return testfleet.WriteIdle(filepath.Join(installs, "hostile", "idle"))
}

// idle is the program of the hostile user's servers.
func (a *arena) idle() string { return idleBeside(a.hostileDir) }

func idleBeside(dir string) string {
	return filepath.Join(strings.TrimSuffix(dir, strings.Repeat(strings.Repeat("d", 50)+"/", hostileFolders)), "idle")
}

// hostile lets the hostile user appear and disappear until ctx ends: servers with all groups that a process may have, some with
// huge arguments or environments, which signal each other. Their installs are behind many folders, or in a file system that
// never answers.
func (a *arena) hostile(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, 500*time.Millisecond, 3*time.Second) {
		release, err := a.silence()
		if err != nil {
			return err
		}
		huge, err := a.appear(ctx, r)
		waiting, ending := release()
		if err = errors.Join(err, ending); err != nil {
			return err
		}
		a.count(func(r *result) { r.Hostile, r.Huge, r.Silent = r.Hostile+1, r.Huge+huge, r.Silent+waiting })
	}
	return nil
}

// appear lets the hostile user appear for a while. It returns how many huge servers there were.
func (a *arena) appear(ctx context.Context, r *rand.Rand) (huge int, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"rag-rat", "hostile", a.hostileDir, "mcp"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := a.children.startAs(cmd, &syscall.Credential{Uid: hostileUser, Gid: hostileUser, Groups: allGroups()}); err != nil {
		return 0, fmt.Errorf("start the hostile user: %w", err)
	}
	_, counting := fmt.Fscan(stdout, &huge) // from then on it ends at a signal
	pause(ctx, r, 500*time.Millisecond, 3*time.Second)
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("end the hostile user: %w: %s", err, stderr.String())
	}
	return huge, counting
}

func allGroups() []uint32 {
	groups := make([]uint32, hostileGroups)
	for i := range groups {
		groups[i] = 100_000 + uint32(i)
	}
	return groups
}

// beHostile starts servers, prints how many of them are huge, and signals each 50 times a second: hostile DIR mcp. It ends them
// at SIGTERM. Where the PIDs have run out, there are fewer servers.
func beHostile(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	idle, huge := idleBeside(dir), 0
	var pids []int
	for i := range hostileServers {
		argv, env, isHuge := hostileServer(i, dir)
		pid, err := syscall.ForkExec(idle, argv, &syscall.ProcAttr{Env: env, Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}})
		if err != nil {
			continue
		}
		pids = append(pids, pid)
		if isHuge {
			huge++
		}
	}
	_, err := fmt.Println(huge)
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
	return err
}

// hostileServer returns the arguments and the environment of a server. Four kinds take turns: behind many folders, with a
// huge environment, with huge arguments, and with an install that never answers.
func hostileServer(i int, dir string) (argv, env []string, isHuge bool) {
	argv = []string{"rag-rat", "infinity", "mcp"}
	path := filepath.Join(dir, strconv.Itoa(i))
	var padding []string
	for range 7 { // with the rest a little less than the 1 MiB that the service reads
		padding = append(padding, "P="+strings.Repeat("x", longestString-len("P=")))
	}
	switch i % 4 {
	case 1:
		env = padding
	case 2:
		argv = append(argv, padding...)
	case 3:
		path = filepath.Join(filepath.Dir(idleBeside(dir)), silentName, strconv.Itoa(i))
	}
	return argv, append(env, "RAG_RAT_UPGRADE_BIN="+path), len(env) > 0 || len(argv) > 3
}
