// SPDX-License-Identifier: MIT

package selector_test

import (
	"testing"

	"ebpf-upgrader/selector"
)

// TestExplain_UpToDate_ShowsNoFailure: newcomers took the last check of a healthy server for its fault.
func TestExplain_UpToDate_ShowsNoFailure(t *testing.T) {
	t.Parallel()
	p := server()
	p.Image = rule().Install.Image
	steps := rule().Explain(p)
	for _, step := range steps {
		if step.State == selector.Failed || step.Passed != (step.State == selector.Passed) {
			t.Errorf("check of a healthy server: %+v", step)
		}
	}
	if last, want := steps[len(steps)-1], "runs the installed file, "+p.Image.String(); last.State != selector.NotNeeded || last.Read != want {
		t.Errorf("the last check is %+v, want it not needed: %q", last, want)
	}
}
