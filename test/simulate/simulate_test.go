// SPDX-License-Identifier: MIT

package main

import "testing"

// play returns a world of 500 hosts with the gate of a column.
func play(t *testing.T, f fault, column int) *world {
	t.Helper()
	return run(f, gates[column].make(), 500, 1)
}

func TestSimulation_BadFile_CostsCanariesOnly(t *testing.T) {
	for _, f := range []fault{{atOnce: 1}, {atOnce: 0.3}, {later: 0.3}, {client: true}} {
		without, with := play(t, f, 0), play(t, f, 2)
		if with.harmed == 0 || with.harmed > 10 || without.harmed < 40 {
			t.Errorf("%+v: %d harmed without a gate, %d with waves", f, without.harmed, with.harmed)
		}
	}
}

func TestSimulation_GoodFile_ReachesEveryHost(t *testing.T) {
	for _, f := range []fault{{}, {lost: true}} {
		if w := play(t, f, 2); w.finished != 500 {
			t.Errorf("%+v: %d of 500 hosts are done", f, w.finished)
		}
	}
}

func TestSimulation_VanishingHosts_HoldUpNone(t *testing.T) {
	w := play(t, fault{vanish: 0.05}, 2)
	if w.finished < 450 {
		t.Errorf("%d of 500 hosts are done", w.finished)
	}
}

func TestSimulation_SameSeed_SameResult(t *testing.T) {
	a, b := play(t, fault{later: 0.3}, 2), play(t, fault{later: 0.3}, 2)
	if a.harmed != b.harmed || a.requests != b.requests || a.peak != b.peak {
		t.Errorf("%d and %d harmed, %d and %d requests", a.harmed, b.harmed, a.requests, b.requests)
	}
}
