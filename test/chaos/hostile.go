// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	// hostileServers is how many servers each crowd of the hostile user has. Each names an install of its own.
	hostileServers = 40
	// hostileGroups is NGROUPS_MAX of include/uapi/linux/limits.h. The service reads nothing else of processes with so many: a
	// second crowd has none.
	hostileGroups = 65536
	// hostileFolders is the depth of the chain of folders in which the installs are.
	hostileFolders = 60
	// longestString is MAX_ARG_STRLEN of include/uapi/linux/binfmts.h, without the NUL.
	longestString = 32*4096 - 1
)

// prepareHostile makes the folders of the hostile user, and the program of its servers.
func (a *arena) prepareHostile(installs string) error {
	a.hostileDir = filepath.Join(installs, "hostile")
	for i := range hostileServers {
		if err := os.MkdirAll(chain(a.hostileDir, i), 0o755); err != nil {
			return err
		}
	}
	if err := mountControl(); err != nil {
		return err
	}
	return testfleet.WriteIdle(idleIn(a.hostileDir))
}

// chain is where an install of the hostile user is: behind as many folders as are watched, which no other install shares.
func chain(dir string, i int) string {
	return filepath.Join(dir, strconv.Itoa(i), strings.Repeat(strings.Repeat("d", 50)+"/", hostileFolders))
}

// idleIn is the program of the hostile user's servers.
func idleIn(dir string) string { return filepath.Join(dir, "idle") }

// hostile lets the hostile user appear and disappear until ctx ends: servers with all groups that a process may have, and others
// with none. Some have huge arguments or environments. Their installs are behind many folders, or in a file system that never
// answers. All PIDs that the user may have are taken.
func (a *arena) hostile(ctx context.Context, r *rand.Rand) error {
	for pause(ctx, r, 500*time.Millisecond, 3*time.Second) {
		release, err := a.silence()
		if err != nil {
			return err
		}
		huge, refused, err := a.appear(ctx, r)
		waiting, ending := release()
		if err = errors.Join(err, ending); err != nil {
			return err
		}
		a.count(func(r *result) {
			r.Hostile, r.Huge, r.Silent, r.NoPIDs = r.Hostile+1, r.Huge+huge, r.Silent+waiting, r.NoPIDs+refused
		})
	}
	return nil
}

// crowd is one process of the hostile user, which has many servers.
type crowd struct {
	*exec.Cmd
	stdout io.ReadCloser
	stderr bytes.Buffer
}

// appear lets the hostile user appear for a while. It returns how many huge servers there were, and whether the user ran out of
// PIDs.
func (a *arena) appear(ctx context.Context, r *rand.Rand) (huge, refused int, err error) {
	var crowds []*crowd
	for _, groups := range [][]uint32{allGroups(), nil} {
		c, err := a.crowd("hostile", groups)
		if err != nil {
			return 0, 0, err
		}
		crowds = append(crowds, c)
		n := 0
		if _, err := fmt.Fscan(c.stdout, &n); err != nil {
			return 0, 0, fmt.Errorf("count the hostile user's servers: %w", err)
		}
		huge += n
	}
	forks, err := a.crowd("forks", nil)
	if err != nil {
		return 0, 0, err
	}
	_, _ = fmt.Fscan(forks.stdout, &refused) // it may lack the PIDs for its own threads
	pause(ctx, r, 500*time.Millisecond, 3*time.Second)
	for _, c := range crowds {
		_ = c.Process.Signal(unix.SIGTERM)
		if ending := c.Wait(); ending != nil {
			err = errors.Join(err, fmt.Errorf("end the hostile user: %w: %s", ending, c.stderr.String()))
		}
	}
	_ = forks.Process.Signal(unix.SIGTERM)
	if forks.Wait() != nil && strings.Contains(forks.stderr.String(), "failed to create new OS thread") {
		refused = 1
	}
	return huge, refused, err
}

// crowd starts a process of the hostile user in a role of this program.
func (a *arena) crowd(role string, groups []uint32) (*crowd, error) {
	c := &crowd{Cmd: exec.Command("/proc/self/exe")}
	c.Args = []string{"rag-rat", role, a.hostileDir, "mcp"}
	c.Stderr = &c.stderr
	var err error
	if c.stdout, err = c.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := a.children.startAs(c.Cmd, &syscall.Credential{Uid: hostileUser, Gid: hostileUser, Groups: groups}); err != nil {
		return nil, fmt.Errorf("start the hostile user: %w", err)
	}
	return c, nil
}

func allGroups() []uint32 {
	groups := make([]uint32, hostileGroups)
	for i := range groups {
		groups[i] = 100_000 + uint32(i)
	}
	return groups
}

// beHostile starts servers, prints how many of them are huge, and signals each 50 times a second if it has all groups:
// hostile DIR mcp. It ends them at SIGTERM. Where the PIDs have run out, there are fewer servers.
func beHostile(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	idle, huge := idleIn(dir), 0
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
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
	_, err = fmt.Println(huge)
	for ctx.Err() == nil {
		for _, pid := range pids[:len(pids)*min(1, len(groups))] {
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

// hostileServer returns the arguments and the environment of a server. One in eight has a huge environment, one has huge
// arguments, and one an install that never answers. The installs of all others are behind many folders.
func hostileServer(i int, dir string) (argv, env []string, isHuge bool) {
	argv = []string{"rag-rat", "infinity", "mcp"}
	path := filepath.Join(chain(dir, i), "rag-rat")
	var padding []string
	for range 7 { // with the rest a little less than the 1 MiB that the service reads
		padding = append(padding, "P="+strings.Repeat("x", longestString-len("P=")))
	}
	switch i % 8 {
	case 1:
		env = padding
	case 2:
		argv = append(argv, padding...)
	case 3:
		path = filepath.Join(dir, silentName, strconv.Itoa(i))
	}
	return argv, append(env, "RAG_RAT_UPGRADE_BIN="+path), len(env) > 0 || len(argv) > 3
}
