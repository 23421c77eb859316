// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"time"
)

// took is a duration as a person says it: two digits are enough.
func took(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*24*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// age is took in whole seconds, for what is read again and again.
func age(t, now time.Time) string {
	if d := now.Sub(t); d >= 10*time.Second {
		return took(d)
	}
	return fmt.Sprintf("%d s", max(0, now.Sub(t))/time.Second)
}

// ago says when t was: how long ago, or the date where that is more than a day.
func ago(t, now time.Time) string {
	if now.Sub(t) > 24*time.Hour {
		return "on " + t.Local().Format("2006-01-02 15:04")
	}
	return age(t, now) + " ago"
}
