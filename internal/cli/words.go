// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"strings"
	"time"
)

// clock is a time of day, with the date where that is not today.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// counted is a number of things, of which the plural ends in s or es.
func counted(n int, thing string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(thing, "s") || strings.HasSuffix(thing, "ch"):
		thing += "es"
	default:
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// verb is what a number of things does: "stays" for one, and "stay" for others.
func verb(n int, does string) string {
	if n == 1 {
		return does + "s"
	}
	return does
}

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

func sinceWhen(t time.Time) string {
	if t.IsZero() {
		return "before this service started"
	}
	return "since " + t.Local().Format(time.DateTime)
}

// widestArguments keeps a row of the table on one line of a usual terminal.
const widestArguments = 40

func cut(text string, widest int) string {
	if runes := []rune(text); len(runes) > widest {
		return string(runes[:widest-1]) + "…"
	}
	return text
}
