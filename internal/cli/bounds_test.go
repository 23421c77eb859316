// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// The user names a thousand installs through 240 folders each. The paths are almost as long as the kernel allows.
func TestHostile_DeepPaths_FitInUnitsMemory(t *testing.T) {
	takesLong(t)
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		h := newWholeHost(t)
		his, top := h.home(victim), newScene(t).Dir()
		servers := h.start(his, victim, 2)
		deep := filepath.Join(top, strings.Repeat("fourteen-chars/", 240))
		must(t, os.MkdirAll(deep, 0o755))
		crowd, err := testfleet.StartCrowd(thousand, testfleet.CrowdOptions{
			Dir: top, Every: 1, Argv0: h.name, Each: func(i int) (string, *testfleet.Credential) {
				return filepath.Join(deep, strconv.Itoa(i)), &testfleet.Credential{UID: hostile, GID: hostile}
			},
		})
		must(t, err)
		t.Cleanup(func() { must(t, crowd.Stop()) })
		u := h.startUnit(build(t, "ebpf-upgrader/cmd/ebpf-upgrader"), h.args(source))
		// Each path took half a MiB. The user is throttled, so that a busy machine takes longer than the test for all of them.
		eventually(t, "most installs are watched", func() bool {
			status, err := h.client(t).Status(within(t))
			return err == nil && status.Watching.Installs > thousand*6/10
		})
		his.replace()
		his.allUpgraded(servers)
		t.Logf("%+v", h.status().Watching)
		u.isUnharmed(t, 128<<20)
	})
}

// Each session has a mount namespace of its own, as with bubblewrap or PrivateTmp. They are more than a user may have installs.
func TestSandboxes_MoreThanInstalls_AreServed(t *testing.T) {
	takesLong(t)
	needRoot(t)
	const sessions = 1100
	withEachSource(t, func(t *testing.T, source string) {
		h := newWholeHost(t)
		dir := newScene(t).Dir()
		path := filepath.Join(dir, "sandboxed")
		crowd, err := testfleet.StartCrowd(sessions, testfleet.CrowdOptions{
			Dir: dir, UpgradeBin: path, Every: 1, Argv0: h.name, Upgrades: true, OwnMounts: true,
			Credential: &testfleet.Credential{UID: victim, GID: victim},
		})
		must(t, err)
		t.Cleanup(func() { must(t, crowd.Stop()) })
		h.serve(source)
		h.knows(sessions)
		if over := h.status().Verdicts[selector.OverLimit]; over != 0 {
			t.Fatalf("%d sessions are over the limit", over)
		}
		content, err := os.ReadFile(path)
		must(t, err)
		must(t, testfleet.WriteProgram(path+".new", content))
		must(t, os.Rename(path+".new", path))
		eventually(t, "all are in the rollout, and the first are upgraded", func() bool {
			members, upgraded := 0, 0 // each is a group of its own, and they go one after the other
			for _, r := range h.status().Rollouts {
				for _, n := range r.Servers {
					members += n
				}
				upgraded += r.Servers[rollout.Upgraded]
			}
			return members == sessions && upgraded >= 5
		})
	})
}
