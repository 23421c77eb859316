// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/journal"
)

// Each open of an installed file fires the trigger of the servers that watch its folder. So the results of the opens are
// kept in a file: a service that restarts opens none of these files again, unless they have changed.

// openedDelay is the time between an open and the write. An install that is younger has just fired the trigger itself.
const openedDelay = 500 * time.Millisecond

// opened keeps the answers of a hub in a file.
type opened struct {
	path string
	hub  *install.Hub
}

// keepOpened loads what an earlier service has opened, and keeps what this one opens until done is called. It is called
// before the first install is watched. Without the file, or with one that cannot be read, each file is opened once more.
func keepOpened(ctx context.Context, cfg *Config, watched *installs) (done func()) {
	o := opened{filepath.Join(cfg.RunDir, "opened-"+journal.Key(cfg.journalName())+".json"), watched.hub}
	if err := o.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		opensForgotten.to(cfg.Log, keyError.of(err))
	}
	wake := make(chan struct{}, 1)
	watched.onChange = func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { o.keep(ctx, wake, cfg.Log) })
	return func() {
		cancel()
		keeping.Wait()
	}
}

// load gives the hub what the file has.
func (o opened) load() error {
	text, err := os.ReadFile(o.path)
	if err != nil {
		return err
	}
	var answers []install.CachedCheck
	if err := json.Unmarshal(text, &answers); err != nil {
		return fmt.Errorf("read %q: %w", o.path, err)
	}
	o.hub.Checker().RestoreChecks(answers)
	return nil
}

// keep writes the answers after each change, and when ctx ends. Of failures in a row only the first is reported.
func (o opened) keep(ctx context.Context, changed <-chan struct{}, log *slog.Logger) {
	hasFailed := false
	for ctx.Err() == nil {
		select {
		case <-changed:
			delayed, cancel := context.WithTimeout(ctx, openedDelay)
			<-delayed.Done()
			cancel()
		case <-ctx.Done():
		}
		err := o.write()
		if err != nil && !hasFailed {
			opensUnsaved.to(log, keyError.of(err))
		}
		hasFailed = err != nil
	}
}

// write replaces the file atomically.
func (o opened) write() error {
	text, err := json.Marshal(o.hub.Checker().CachedChecks())
	if err != nil {
		return err
	}
	next := o.path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, o.path)
}
