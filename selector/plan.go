// SPDX-License-Identifier: MIT

package selector

import "slices"

// Plan returns the order of delivery: every PID once, ascending, self last. It includes self only if pids does. It does
// not change pids.
func Plan(self PID, pids []PID) []PID {
	plan := slices.Compact(slices.Sorted(slices.Values(pids)))
	if i, found := slices.BinarySearch(plan, self); found {
		plan = append(slices.Delete(plan, i, i+1), self)
	}
	return plan
}
