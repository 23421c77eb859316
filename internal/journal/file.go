// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"ebpf-upgrader/internal/rollout"
)

// ErrForeign means that the content of the file is not what this version writes for this service.
var ErrForeign = errors.New("not a journal of this service that this version can read")

const (
	// slack is how much a file may grow beyond twice the size of its current lines. It is rewritten then, without the
	// lines that were replaced: the file system in memory may be small.
	slack = 64 << 10
	// maxSize is more than the lines of a host full of servers.
	maxSize = 256 << 20
)

// File is the file of one service. It is safe for concurrent use by one process; package lock keeps other processes away.
type File struct {
	path, serves string

	mu sync.Mutex
	// file is open for appending; nil: the next line needs a whole new file. limit is the size at which it is rewritten.
	file        *os.File
	size, limit int64
	contents
	// failed is why the file lacks some of the contents; nil: it has all.
	failed error
}

// Open reads what was kept in dir for a service. serves names what the service serves; each has a file of its own. The
// result is nil where nothing was kept during this boot. Open changes nothing: the first write makes the file, and dir
// (mode 0700) if it is missing. The caller must Close the File.
//
// With [ErrForeign] the File can be used: its first write replaces the content that was found. With any other error the
// File is nil. It is not known then which servers were signalled.
func Open(dir, serves string) (*File, *rollout.Snapshots, error) {
	f := &File{
		path:     filepath.Join(dir, "journal-"+Key(serves)+".jsonl"),
		serves:   serves,
		contents: newContents(0),
	}
	saved, err := f.read()
	switch {
	case errors.Is(err, ErrForeign):
		return f, nil, err
	case err != nil:
		return nil, nil, err
	}
	return f, saved, nil
}

// Key is the part of a file's name that belongs to one service. serves is as for [Open].
func Key(serves string) string {
	sum := sha256.Sum256([]byte(serves))
	return hex.EncodeToString(sum[:8])
}

func (f *File) read() (*rollout.Snapshots, error) {
	content, err := readOwn(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, f.wrap("read", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, f.wrap("read", err)
	}
	kept, isKept, err := parse(content, header{Version: version, BootID: text(boot), Serves: text(f.serves)})
	if err != nil || !isKept {
		return nil, f.wrap("read", err)
	}
	f.contents = kept
	return kept.saved(readClock()), nil
}

// Save replaces all that was kept, by a rename: a reader finds the old file or the new one. It does not wait for a disk.
func (f *File) Save(s rollout.Snapshots) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := readClock()
	f.contents = newContents(s.Number)
	for _, r := range s.Rollouts {
		_ = f.take(line{Rollout: newRollout(r, clock)})
		for _, m := range r.Members {
			m.Rollout = r.Number
			_ = f.take(line{Server: newServer(m, clock)})
		}
	}
	f.replace()
	return f.wrap("write", f.failed)
}

// Rollout replaces what was kept of one rollout without its servers. For its errors see Note.
func (f *File) Rollout(r rollout.Snapshot) error {
	return f.append(line{Rollout: newRollout(r, readClock())})
}

// Forget removes what was kept of a rollout and its servers. For its errors see Note.
func (f *File) Forget(number uint64) error { return f.append(line{Forget: number}) }

// Note replaces what was kept of one server, or removes it where its state is not to be kept. Without an error the kernel
// has this line and all before it. Lines that could not be written are written by the next call that succeeds.
func (f *File) Note(m rollout.Member) error { return f.append(line{Server: newServer(m, readClock())}) }

// Flush writes what could not be written, if anything.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		f.replace()
	}
	return f.wrap("write", f.failed)
}

// Close closes the file, which stays. A later Save or Note would open it again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop()
	return nil
}

// wrap adds the path of the journal in place of the paths in err.
func (f *File) wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	} else if link, ok := errors.AsType[*os.LinkError](err); ok {
		err = link.Err
	}
	return fmt.Errorf("%s journal %q: %w", verb, f.path, err)
}
