// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/stage"
)

// seenWithin is how long the service may take to see a staged file: it lets the file settle, and reads it.
const seenWithin = 20 * time.Second

// awaitSeen waits until the service has seen the file that is staged now. A script stages a file and activates it at once;
// without the wait the answer would be about the file before. It waits for nothing where no file is staged, as far as can be
// read, and for none with the content of the installed file.
func (a *app) awaitSeen(ctx context.Context, c *control.Client, path string) error {
	want, err := stage.ReleaseOf(stage.NextPath(path))
	if err != nil {
		return nil //nolint:nilerr // the service says what is wrong with it
	}
	if installed, err := stage.ReleaseOf(path); err == nil && installed == want {
		return nil
	}
	deadline := time.Now().Add(seenWithin)
	hasSeen := func(s api.Staged) bool {
		return s.Release == string(want) || s.State == string(stage.Idle) && s.Why != "" || time.Now().After(deadline)
	}
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	s, err := stagedAt(status.Staged, path)
	if err != nil {
		return err
	}
	if s, err = a.await(ctx, c, s, hasSeen); err != nil {
		return err
	}
	if s.Release != string(want) && (s.State != string(stage.Idle) || s.Why == "") {
		return fmt.Errorf("%s is not taken by the service: is it executable, and is it still being written?", stage.NextPath(path))
	}
	return nil
}
