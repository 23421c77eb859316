// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
)

// followRefusals follows the events. told waits for the one of a single refusal, which an inspection leads to: the stream
// reads the counts only when it begins.
func followRefusals(t *testing.T, c *control.Client) (told func(sender, target *sibling)) {
	t.Helper()
	ctx, stop := context.WithCancel(within(t))
	t.Cleanup(stop)
	events := make(chan control.Event)
	go func() {
		_ = c.Events(ctx, control.EventQuery{Follow: true}, func(e control.Event) error {
			select {
			case events <- e:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	<-events // it has begun
	return func(sender, target *sibling) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case e := <-events:
				if e.Kind == control.EventGate && e.Sender == sender.pid() && e.PID == target.pid() && e.Count == 1 {
					return
				}
			case <-deadline:
				t.Fatalf("within %s no event told of the refusal from %d to %d", patience, sender.pid(), target.pid())
			}
		}
	}
}
