// SPDX-License-Identifier: MIT

package selector

import "slices"

// Plan returns the order of delivery: every PID once, ascending, self last. It includes self only if pids does. It does
// not change pids.
func Plan(self PID, pids []PID) []PID {
	plan := slices.Clone(pids)
	slices.SortFunc(plan, func(a, b PID) int {
		switch {
		case a == b:
			return 0
		case a == self:
			return 1
		case b == self:
			return -1
		}
		return int(a) - int(b)
	})
	return slices.Compact(plan)
}
