// SPDX-License-Identifier: MIT

// Package poll waits for a time or a condition, and stops waiting when a context ends.
package poll

import (
	"context"
	"fmt"
	"time"
)

// Sleep waits for d. It returns the error of ctx if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Until calls check at an interval until check returns an empty text. Any other text says what is missing; the error
// repeats the last one if ctx ends first.
func Until(ctx context.Context, interval time.Duration, check func() (missing string)) error {
	for {
		missing := check()
		if missing == "" {
			return nil
		}
		if err := Sleep(ctx, interval); err != nil {
			return fmt.Errorf("%s: %w", missing, err)
		}
	}
}
