// SPDX-License-Identifier: MIT

package selector_test

import (
	"slices"
	"testing"

	"ebpf-upgrader/selector"
)

// The test tries every order of up to seven PIDs, with every choice of self among them and outside.
func TestPlan_EveryPermutation_SelfLast(t *testing.T) {
	t.Parallel()
	const most = 7
	for n := range most + 1 {
		pids := make([]selector.PID, n)
		for i := range pids {
			pids[i] = selector.PID(10 * (i + 1))
		}
		permute(pids, n, func(order []selector.PID) {
			for self := selector.PID(0); self <= selector.PID(10*(n+1)); self += 10 {
				requirePlan(t, self, order)
			}
		})
	}
}

func requirePlan(t *testing.T, self selector.PID, order []selector.PID) {
	t.Helper()
	plan := selector.Plan(self, order)
	others := plan
	if slices.Contains(order, self) {
		if len(plan) == 0 || plan[len(plan)-1] != self {
			t.Fatalf("Plan(%d, %v) = %v, want self last", self, order, plan)
		}
		others = plan[:len(plan)-1]
	}
	if slices.Contains(others, self) || !slices.IsSorted(others) || len(plan) != len(order) {
		t.Fatalf("Plan(%d, %v) = %v, want others ascending, self at most once, none lost", self, order, plan)
	}
}

func permute(pids []selector.PID, k int, yield func([]selector.PID)) {
	if k <= 1 {
		yield(pids)
		return
	}
	for i := range k {
		permute(pids, k-1, yield)
		if k%2 == 0 {
			pids[i], pids[k-1] = pids[k-1], pids[i]
		} else {
			pids[0], pids[k-1] = pids[k-1], pids[0]
		}
	}
}

func TestPlan_Duplicates_Dropped(t *testing.T) {
	t.Parallel()
	in := []selector.PID{7, 3, 7, 9, 3, 9}
	if got, want := selector.Plan(9, in), []selector.PID{3, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("Plan(9, %v) = %v, want %v", in, got, want)
	}
	if want := []selector.PID{7, 3, 7, 9, 3, 9}; !slices.Equal(in, want) {
		t.Errorf("Plan changed its argument to %v", in)
	}
}
