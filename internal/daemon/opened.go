// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/internal/journal"
)

// Each open of an installed file fires the trigger of the servers that watch its folder. So the results of the opens are
// kept in a file: a service that restarts opens none of these files again, unless they have changed.

const (
	// maxOpenedBytes limits what is read of it: 4,096 answers with a path each.
	maxOpenedBytes = 32 << 20
	// openedDelay is the time between an open and the write. An install that is younger has just fired the trigger itself.
	openedDelay = 500 * time.Millisecond
)

// opened keeps the answers of a hub.
type opened struct {
	path string
	hub  *install.Hub
	wake chan struct{}
}

// load gives the hub what an earlier service has kept. It is called before the first install is watched. Without the file,
// or with one that cannot be read, each file is opened once more.
func (o *opened) load() error {
	file, err := os.Open(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var answers []install.CachedCheck
	if err := json.NewDecoder(io.LimitReader(file, maxOpenedBytes)).Decode(&answers); err != nil {
		return fmt.Errorf("read %q: %w", o.path, err)
	}
	o.hub.Checker().RestoreChecks(answers)
	return nil
}

// changed notes that files may have been opened. It does not block.
func (o *opened) changed() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// keep writes the answers after each change, and when ctx ends. Of failures in a row only the first is reported.
func (o *opened) keep(ctx context.Context, failed func(error)) {
	hasFailed := false
	for ctx.Err() == nil {
		select {
		case <-o.wake:
			delayed, cancel := context.WithTimeout(ctx, openedDelay)
			<-delayed.Done()
			cancel()
		case <-ctx.Done():
		}
		err := o.write()
		if err != nil && !hasFailed {
			failed(err)
		}
		hasFailed = err != nil
	}
}

// keepOpened loads what an earlier service has opened, and keeps what this one opens until done is called.
func keepOpened(ctx context.Context, cfg *Config, watched *installs) (done func()) {
	log := cfg.Log
	path := filepath.Join(cfg.RunDir, "opened-"+journal.Key(cfg.journalName())+".json")
	o := &opened{path, watched.hub, make(chan struct{}, 1)}
	if err := o.load(); err != nil {
		log.Warn("installed files are opened once more", "error", err)
	}
	watched.onChange = o.changed
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.keep(ctx, func(err error) { log.Warn("a restart will open installed files again", "error", err) })
	}()
	return func() {
		cancel()
		<-ended
	}
}

// write replaces the file atomically.
func (o *opened) write() error {
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
