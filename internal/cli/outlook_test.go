// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

func TestOutlook_UnreadyInstall_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	known := &api.ServerStatus{}
	known.PID, known.Verdict, known.Detail = 7, selector.UnreadyInstall, "is truncated"
	e := &explanation{PID: 7, Checks: make([]selector.Check, 1), Decision: selector.Decision{Verdict: selector.Outdated}}
	o := outlook{e: e, known: &knowledge{byPID: map[selector.PID]*api.ServerStatus{7: known}}}
	for _, want := range []string{"not ready: is truncated", "install a complete one"} {
		if line := o.line(); !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
}

func TestOutlook_HangingServer_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	for verdict, wait := range map[selector.Verdict]rollout.Wait{selector.UpToDate: {For: rollout.WaitArm, Why: "is not armed"}, selector.NoHandler: {}} {
		e := &explanation{Checks: []selector.Check{{Read: "is not caught"}}, Decision: selector.Decision{Verdict: verdict}, Wait: wait}
		if line := (outlook{e: e, known: &knowledge{}}).line(); !strings.Contains(line, "if it hangs, ") || !strings.Contains(line, "start") {
			t.Errorf("%s: %q does not say what to do", verdict, line)
		}
	}
}
