// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"maps"
	"time"
)

const (
	// burst is what a user may add at once: a rollout of a thousand servers.
	burst = 4096 * minCost
	// perSecond is what a user may add for long: 600 short entries a minute, as the log has lines.
	perSecond = 10 * minCost
)

// allowances limit what each user adds, in the measure of [costOf]. The zero value is ready. It has no lock.
type allowances struct {
	users map[int64]allowance
}

type allowance struct {
	spent int
	at    time.Time
}

// take reports whether a user may add an entry now.
func (a *allowances) take(user int64, cost int, now time.Time) bool {
	if a.users == nil {
		a.users = make(map[int64]allowance)
	}
	left := a.users[user].after(now)
	if left.spent+cost > burst {
		return false
	}
	left.spent += cost
	a.users[user] = left
	if len(a.users) > maxAllowances {
		maps.DeleteFunc(a.users, func(_ int64, other allowance) bool { return other.after(now).spent == 0 })
	}
	return true
}

// maxAllowances is how many users are remembered before those are forgotten that may add all again.
const maxAllowances = 1024

// after is what is left of an allowance at a later time.
func (a allowance) after(now time.Time) allowance {
	regained := now.Sub(a.at).Seconds() * perSecond
	return allowance{max(0, a.spent-int(min(regained, burst))), now}
}
