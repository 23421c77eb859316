// SPDX-License-Identifier: MIT

package fleet

import "time"

// MaxWait is the longest time between two tries to reach an engine.
const MaxWait = 5 * time.Minute

// Wait is how long a host waits before it asks again. random is from 0 to 1: hosts must not ask at the same moment.
func Wait(a Answer, now time.Time, random float64) time.Duration {
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random*float64(most-least))
	}
	switch a.Reason {
	case Full:
		return between(30*time.Second, 90*time.Second)
	case Baking:
		opens := max(0, a.Until.Sub(now))
		return between(opens, opens+2*time.Minute)
	}
	return between(2*time.Minute, 8*time.Minute)
}

// Retry is how long a host waits after tries failed in a row: half of 5 s to the whole, doubled each time up to MaxWait.
func Retry(tries int, random float64) time.Duration {
	return backoff(5*time.Second, MaxWait, tries, 0.5+random/2)
}

// Conflict is how long a host waits when another one was quicker to write, tries times in a row.
func Conflict(tries int, random float64) time.Duration {
	return backoff(5*time.Millisecond, 2*time.Second, tries, random)
}

// backoff is a random part of least, doubled with each try up to most.
func backoff(least, most time.Duration, tries int, random float64) time.Duration {
	for ; tries > 1 && least < most; tries-- {
		least *= 2
	}
	return time.Duration(random * float64(min(least, most)))
}
