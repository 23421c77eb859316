// SPDX-License-Identifier: MIT

package history

import "slices"

// NoUser is the user of entries that belong to no user, or to several.
const NoUser = -1

// Trim returns entries that cost at most most in all, in their order. Each user keeps the latest entries, up to a limit
// that is the same for all: users with less keep all of theirs. entries is not changed.
func Trim[E any](entries []E, most int, cost func(E) int, user func(E) int64) []E {
	costs, all := make(map[int64]int), 0
	for _, e := range entries {
		costs[user(e)] += cost(e)
		all += cost(e)
	}
	if all <= most {
		return entries
	}
	limit := fairLimit(costs, most)
	clear(costs)
	var kept []E
	for _, e := range slices.Backward(entries) {
		costs[user(e)] += cost(e) // also of those left out: older ones must not fill the gap
		if costs[user(e)] <= limit {
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

// fairLimit is the highest limit with which the costs of all users fit.
func fairLimit(costs map[int64]int, most int) int {
	sorted := make([]int, 0, len(costs))
	for _, c := range costs {
		sorted = append(sorted, c)
	}
	slices.Sort(sorted)
	for i, c := range sorted {
		share := most / (len(sorted) - i)
		if c > share {
			return share
		}
		most -= c
	}
	return most
}
