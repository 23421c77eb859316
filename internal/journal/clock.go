// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clock is one moment, by two clocks.
type clock struct {
	wall time.Time
	boot int64 // nanoseconds of CLOCK_BOOTTIME
}

func readClock() clock {
	var ts unix.Timespec
	// Cannot fail: Linux has had this clock since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return clock{time.Now(), ts.Nano()}
}

// maxMoment is 73 years, so that sums do not overflow.
const maxMoment = 1 << 61

// moment converts t to nanoseconds after boot; nil stands for the zero time.
func (c clock) moment(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ago := max(-maxMoment, min(maxMoment, int64(c.wall.Sub(t))))
	at := max(-maxMoment, min(maxMoment, c.boot-ago))
	return &at
}

// time is the inverse of moment. Its result has a monotonic reading, so a later jump of the wall clock does not move it.
func (c clock) time(at *int64) time.Time {
	if at == nil {
		return time.Time{}
	}
	return c.wall.Add(time.Duration(*at - c.boot))
}

func bootID() (string, error) {
	const path = "/proc/sys/kernel/random/boot_id"
	id, err := os.ReadFile(path)
	if err != nil { // not as a PathError: wrap leaves the path of one out
		return "", fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	return strings.TrimSpace(string(id)), nil
}
