// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"errors"
	"time"

	"ebpf-upgrader/internal/sys"
)

// The time between two tries to reach the next service doubles, from the first to the last.
const firstRetry, lastRetry = 50 * time.Millisecond, time.Second

// HasEnded reports whether an error means that the service has ended or that none runs: the next one may start.
func HasEnded(err error) bool { return errors.Is(err, ErrEnded) || errors.Is(err, ErrNoService) }

// Again calls query, and calls it again whenever the service has ended. query calls answered with each answer. waiting is
// called once after a service has ended. Again returns what query returns otherwise; the end of ctx is no error. Where no
// service has answered yet it does not wait for one.
func Again(ctx context.Context, query func(answered func()) error, waiting func()) error {
	hasAnswered, isWaiting, retry := false, false, firstRetry
	answered := func() { hasAnswered, isWaiting, retry = true, false, firstRetry }
	for ctx.Err() == nil {
		err := query(answered)
		if ctx.Err() == nil && (!hasAnswered || !HasEnded(err)) {
			return err
		}
		if ctx.Err() == nil && !isWaiting {
			isWaiting = true
			waiting()
		}
		sys.WaitFor(ctx.Done(), retry)
		retry = min(2*retry, lastRetry)
	}
	return nil
}
