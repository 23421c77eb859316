// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// asFollower makes the test binary read the service on that socket as a command does that follows a rollout, and print what
// contradicts itself.
const asFollower = "CONTROL_TEST_AS_FOLLOWER"

func followAsUser(client *control.Client) {
	ctx := context.Background()
	for seen := make(map[uint64]bool); len(seen) < 10; {
		status, err := client.Status(ctx)
		servers, err2 := client.Servers(ctx)
		if err = errors.Join(err, err2); err != nil || len(status.Rollouts) != 1 || len(servers) != 1 {
			fmt.Println(err, status.Rollouts, servers)
			return
		}
		seen[status.Rollouts[0].Number] = true
		if is, was := uint64(servers[0].Rollout.Attempts), status.Rollouts[0].Number; is < was {
			fmt.Printf("the servers are those of microsecond %d, the status before them is of microsecond %d\n", is, was)
			return
		}
	}
	before, err := client.Status(ctx)
	err2 := client.Pause(ctx)
	after, err3 := client.Status(ctx)
	if err := errors.Join(err, err2, err3); err != nil || before.Paused || !after.Paused {
		fmt.Printf("paused is %t before the pause and %t after it: %v\n", before.Paused, after.Paused, err)
	}
}

// TestUser_Follows_ReadsNothingOlder: answers to users are kept for a moment. One that was kept before a status or an act is
// not given after it: else a command said that a rollout is complete and one of its servers is not.
func TestUser_Follows_ReadsNothingOlder(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := listen(t)
	began := time.Now()
	s.of.live = func() (api.Status, []api.ServerStatus) {
		moment := 1 + time.Since(began)/time.Microsecond
		m := rollout.Member{PID: 7, UID: other, Attempts: int(moment)}
		r := rollout.Report{Number: uint64(moment), ByUser: map[uint32]rollout.UserReport{other: {}}}
		servers := []api.ServerStatus{{Server: api.Server{PID: 7, UID: other}, Rollout: &m}}
		return api.Status{Paused: s.of.paused.Load() > 0, Rollouts: []rollout.Report{r}}, servers
	}
	s.start(t)
	if err := os.Chmod(filepath.Dir(s.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asFollower + "=" + s.socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
