// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/test/testfleet"
)

// TestInstall_SlowFileSystem_AllUpgraded: a look gives up before there is an answer, which the next
// look takes. By then it can be what stood there before the install.
func TestInstall_SlowFileSystem_AllUpgraded(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		h, s := newWholeHost(t), newScene(t)
		slow := mounted(t, func(dir string) (func() error, error) {
			return testfleet.MountLeading(dir, s.Dir(), 40*time.Millisecond)
		})
		path := filepath.Join(slow, testfleet.Leading, testfleet.Name)
		servers := make([]*testfleet.Server, 3)
		for i := range servers {
			servers[i] = s.start(func(o *testfleet.Options) { o.Argv0, o.UpgradeBin = h.name, &path })
		}
		h.serve(source)
		h.knows(1)
		for range 5 {
			s.replace()
			s.allUpgraded(servers)
		}
		for _, server := range servers {
			if n := server.Signals(); n != 5 {
				t.Errorf("server %d got %d signals for 5 installs", server.PID(), n)
			}
		}
	})
}
