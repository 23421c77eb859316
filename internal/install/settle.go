// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

// longestSettle is how many settle times a file that keeps changing is waited for: 0.8 s for the usual
// 200 ms. What it is by then is decided by the checks, which refuse a file that is still open for writing.
const longestSettle = 4

// WaitSettled waits until the file at the end of a way has stood unchanged for settle, and at most four
// times that. A file that was last changed longer ago is not waited for, and neither is
// what is no regular file or missing. It returns early when ctx ends. It opens nothing.
func WaitSettled(ctx context.Context, way RootedPath, settle time.Duration) {
	way = way.absolute()
	limit := time.Now().Add(longestSettle * settle)
	for m := settling(way); m != (mark{}); {
		wait := min(m.restless(settle, time.Now()), time.Until(limit))
		if wait <= 0 || sys.WaitFor(ctx.Done(), wait) {
			return
		}
		now := settling(way)
		if now == m {
			return
		}
		m = now
	}
}

// settling is the zero mark also where the file system does not answer in time.
func settling(way RootedPath) mark {
	m, _ := within(answerWithin, func() mark {
		root, err := way.open()
		if err != nil {
			return mark{}
		}
		defer func() { _ = unix.Close(root) }()
		s := way.sight(root, nil)
		return s.markOf(way.Path)
	})
	return m
}

// restless is how long the file has yet to stand unchanged. Only ctime cannot be set back by who
// writes. One that lies in the future says nothing, and the whole settle time is waited for.
func (m mark) restless(settle time.Duration, now time.Time) time.Duration {
	age := now.Sub(m.ctime.time())
	if age < 0 {
		return settle
	}
	return settle - age
}
