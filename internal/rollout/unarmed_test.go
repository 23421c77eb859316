// SPDX-License-Identifier: MIT

package rollout_test

import (
	"testing"
	"time"

	"ebpf-upgrader/internal/rollout"
)

func TestReport_CanaryHangs_IsNamed(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	h.start(1, 1, "/d")
	h.start(2, 1, "/d")
	h.pass(0)
	if u := h.Report(false).Unarmed; u != nil {
		t.Errorf("before its exec: %+v", u)
	}
	h.exec(1, newImage)
	execed := h.now
	h.pass(10 * time.Second)
	if u := h.Report(false).Unarmed; u == nil || *u != (rollout.Unarmed{PID: 1, Since: execed, HaltsAt: execed.Add(armTimeout)}) {
		t.Errorf("after its exec: %+v", u)
	}
	h.arm(1)
	h.pass(0)
	if u := h.Report(false).Unarmed; u != nil {
		t.Errorf("once it is armed: %+v", u)
	}
}
