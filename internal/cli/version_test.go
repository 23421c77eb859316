// SPDX-License-Identifier: MIT

package cli

import "testing"

func TestVersion_Commit_IsShownOnce(t *testing.T) {
	t.Parallel()
	const commit = "dec9c38f00d0123456789abcdef0123456789abc"
	for _, c := range []struct {
		build buildInfo
		want  string
	}{
		{buildInfo{Version: "devel"}, "devel"},
		{buildInfo{Version: "devel", Commit: commit}, "devel (dec9c38f00d0)"},
		{buildInfo{Version: "v1.2.0", Commit: commit, Dirty: true}, "v1.2.0 (dec9c38f00d0, modified)"},
		{buildInfo{Version: "dec9c38", Commit: commit}, "dec9c38"},
		{buildInfo{Version: "dec9c38-dirty", Commit: commit, Dirty: true}, "dec9c38-dirty"},
	} {
		if got := c.build.full(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.build, got, c.want)
		}
	}
}
