// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/control"
)

// filterFlags are the values of the flags that select events and rollouts.
type filterFlags struct {
	since string
	kinds []string
}

// add adds the flag that selects by time, beside that of the user.
func (flags *filterFlags) add(f *pflag.FlagSet) {
	f.Lookup("user").Usage = "only of this user, by name or number"
	f.StringVar(&flags.since, "since", "", "only from then on: a duration before now, or a local time: 10m, 3d, 16:04, 2026-11-30, \"2026-11-30 16:04:05\"")
}

// filter is what the flags select, with those that other commands have too.
func (flags *filterFlags) filter(o *options, now time.Time) (filter control.EventFilter, err error) {
	switch users := o.selection.Users; len(users) {
	case 0:
	case 1:
		filter.UID = &users[0]
	default:
		return filter, usageError("--user: give one")
	}
	if len(o.installPaths) > 1 {
		return filter, usageError("--install-path: give one")
	}
	filter.Path = o.installPath()
	for _, kind := range flags.kinds {
		if !slices.Contains(control.EventKinds(), control.EventKind(kind)) {
			return filter, usageError("--kind %q: must be one of %s", kind, kindList())
		}
		filter.Kinds = append(filter.Kinds, control.EventKind(kind))
	}
	if flags.since != "" {
		filter.Since, err = parseSince(flags.since, now)
	}
	return filter, err
}

func kindList() string {
	var words []string
	for _, kind := range control.EventKinds() {
		words = append(words, string(kind))
	}
	return strings.Join(words, ", ")
}

// clockLayouts are those of times of today.
var clockLayouts = []string{"15:04", time.TimeOnly}

// timeLayouts are those of local times with a date. RFC 3339 has its own zone.
var timeLayouts = []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339}

// parseSince reads a time, or a duration before now. A day has 24 hours in it.
func parseSince(text string, now time.Time) (time.Time, error) {
	at, isTime := parseTime(text, now.Local())
	ago, isDuration := parseDuration(text)
	switch {
	case isDuration && ago > 0:
		return now.Add(-ago), nil
	case isTime && at.After(now):
		return at, usageError("--since %q: must not be in the future: it is %s", text, now.Local().Format(time.DateTime))
	case isTime:
		return at, nil
	}
	return at, usageError("--since %q: must be a duration before now, such as 90s, 10m, 2h or 3d, or a local time, such as 16:04, 16:04:05, 2026-11-30 or \"2026-11-30 16:04:05\"", text)
}

func parseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range clockLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location()), true
		}
	}
	for _, layout := range timeLayouts {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// maxDays is how far back a duration in days may go: a hundred years.
const maxDays = 36500

func parseDuration(text string) (time.Duration, bool) {
	if number, isDays := strings.CutSuffix(text, "d"); isDays {
		days, err := strconv.ParseUint(number, 10, 32)
		return time.Duration(days) * 24 * time.Hour, err == nil && days <= maxDays
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}
