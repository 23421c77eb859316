// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// syncEvery is how long an entry may be in the kernel only.
	syncEvery = time.Second
	// retryEvery is the time between two attempts to write.
	retryEvery = time.Second
)

// writer writes the entries of a store. Only its own goroutine uses it.
type writer struct {
	store *Store
	// file is open for appending; nil: it has yet to be opened. cost is what its lines cost.
	file *os.File
	cost int
	// isDamaged says that the files have lines to be left out.
	isDamaged bool
}

// run writes until the store is closed. Nothing wakes it while there is nothing to write.
func (w *writer) run() {
	defer close(w.store.ended)
	defer w.drop()
	var sync <-chan time.Time
	for isOpen := true; isOpen; {
		select {
		case <-w.store.wake:
			if sync == nil {
				sync = time.After(syncEvery)
			}
		case <-sync:
			sync = nil
			w.sync()
			continue
		case <-w.store.closed:
			isOpen = false
		}
		lines, cost := w.store.take()
		w.write(lines, cost)
	}
	w.sync()
}

// write tries until lines are written, or the store is closed.
func (w *writer) write(lines []byte, cost int) {
	for len(lines) > 0 {
		err := w.append(lines, cost)
		w.store.written(err)
		if err == nil {
			return
		}
		select {
		case <-time.After(retryEvery):
		case <-w.store.closed:
			return
		}
	}
}

// append appends lines to the file, all or none.
func (w *writer) append(lines []byte, cost int) error {
	err := w.open()
	if err == nil && (w.isDamaged || w.cost > 0 && w.cost+cost > w.store.cfg.Most) {
		err = w.merge()
	}
	if err != nil {
		return err
	}
	end, err := w.file.Seek(0, 2)
	if err == nil {
		_, err = w.file.Write(lines)
	}
	if err != nil {
		_ = w.file.Truncate(end)
		w.drop()
		return err
	}
	w.cost += cost
	return nil
}

// open opens the file for appending, also after an operator has removed it.
func (w *writer) open() error {
	if w.file != nil && isRemoved(w.file) {
		w.drop()
	}
	if w.file != nil {
		return nil
	}
	cfg := w.store.cfg
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	path := newPath(cfg.Dir, cfg.Name)
	file, size, err := openOwn(path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	text := make([]byte, min(size, int64(2*cfg.Most)))
	if _, err := file.ReadAt(text, size-int64(len(text))); err != nil {
		_ = file.Close()
		return err
	}
	w.file, w.cost = file, 0
	for line := range bytes.Lines(text) {
		w.cost += costOf(len(line))
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		w.isDamaged = true
	}
	return nil
}

// isRemoved reports whether a file has no name any more.
func isRemoved(file *os.File) bool {
	var stat unix.Stat_t
	return unix.Fstat(int(file.Fd()), &stat) == nil && stat.Nlink == 0
}

// merge replaces the old file by the latest entries of both, and empties the new one. A process that is killed in between
// leaves entries twice, which [Read] takes once.
func (w *writer) merge() error {
	cfg := w.store.cfg
	entries, _ := Read(cfg.Dir, cfg.Name, cfg.Most) // what cannot be read was reported
	var text []byte
	for _, e := range Trim(entries, cfg.Most, Entry.cost, func(e Entry) int64 { return e.User }) {
		line, err := e.line()
		if err != nil {
			return err
		}
		text = append(text, line...)
	}
	path := oldPath(cfg.Dir, cfg.Name)
	if err := replace(path, text); err != nil {
		return err
	}
	if err := w.file.Truncate(0); err != nil {
		return err
	}
	w.cost, w.isDamaged = 0, false
	return nil
}

// cost is what the line of e counts.
func (e Entry) cost() int {
	return costOf(len(e.Text) + len(`{"n":,"user":,"entry":}`) + 2*len("4294967295"))
}

// replace writes a file beside the one at path and renames it, when it is on the disk.
func replace(path string, text []byte) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("replace %q: %w", path, err)
	}
	return nil
}

// sync puts the file on the disk.
func (w *writer) sync() {
	if w.file == nil {
		return
	}
	if err := w.file.Sync(); err != nil {
		w.store.written(err)
		w.drop()
	}
}

func (w *writer) drop() {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.file = nil
}
