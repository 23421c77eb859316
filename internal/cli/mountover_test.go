// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"testing"
	"time"
)

// TestContainer_MountOverInstall_SeenSoon: the next check of all paths would come 30 s after the start.
func TestContainer_MountOverInstall_SeenSoon(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		h := newWholeHost(t)
		c := newContainer(t)
		install, next := c.install("/opt/agent"), c.install("/opt/next")
		server := c.start(install, h.name)
		h.serve(source)
		h.knows(1)
		began := time.Now()
		c.run("mount", "--bind", "/opt/next", "/opt/agent")
		image := imageAt(t, next.Path())
		eventually(t, "the service has seen the mounted file", func() bool {
			i := h.status().Installs
			return len(i) == 1 && i[0].Image == image
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the mount was seen after %s, want 2 s", took)
		}
		next.upgraded(server)
	})
}
