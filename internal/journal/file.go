// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// ErrForeign means that the file holds something that this version did not write for this install.
// The caller may warn and go on as if it were not there: the next Save replaces it.
var ErrForeign = errors.New("not a journal of this service that this version can read")

const (
	// maxNotes is after how many notes the file is written anew without the lines that were replaced:
	// some 40 MB.
	maxNotes = 100_000
	// maxUnwritten bounds the lines that wait to be appended; beyond it the next file is written as a whole.
	maxUnwritten = 64 << 10
	// maxSize is more than that and a host full of servers can make of it.
	maxSize = 256 << 20
	// retryAfter is how long notes leave a file alone that could not be written as a whole.
	retryAfter = time.Second
)

// File is the file of one service. It is safe for concurrent use, but not for use by several
// processes: package lock keeps them apart.
type File struct {
	path, serves string

	mu sync.Mutex
	// file is open for appending, nil while there is none that may be added to.
	file *os.File
	size int64
	// unwritten are the lines that did not fit, for the next attempt.
	unwritten []byte
	notes     int
	// service, rollouts and servers are the lines that a whole file consists of besides the header.
	service  []byte
	rollouts map[uint64][]byte
	servers  map[selector.PID]keptServer
	// failed and failedAt are of the last attempt to write a whole file for a note.
	failed   error
	failedAt time.Time
}

// keptServer is the line of a server in a rollout.
type keptServer struct {
	rollout uint64
	line    []byte
}

// Open reads what was kept in dir for a service. serves names what the service serves; each has a file of its own. The
// result is nil where nothing was kept during this boot. Open changes nothing: the first write makes dir (mode 0700) and
// the file.
//
// With [ErrForeign] nothing is wrong but the file that was found, and the File can be used: its first write replaces what
// was found. With any other error there is no File. The caller must Close the File.
func Open(dir, serves string) (*File, *rollout.Snapshots, error) {
	f := &File{
		path:     filepath.Join(dir, "journal-"+Key(serves)+".jsonl"),
		serves:   serves,
		service:  encode(line{Service: &service{}}),
		rollouts: make(map[uint64][]byte),
		servers:  make(map[selector.PID]keptServer),
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

// Key is the part of a file's name that tells the service apart that serves names.
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
	kept, err := parse(content, header{Version: version, BootID: text(boot), Serves: text(f.serves)})
	if err != nil || kept.service == nil {
		return nil, f.wrap("read", err)
	}
	f.service = encode(line{Service: kept.service})
	for number, r := range kept.rollouts {
		f.rollouts[number] = encode(line{Rollout: &r})
	}
	for pid, s := range kept.servers {
		f.servers[pid] = keptServer{s.Rollout, encode(line{Server: &s})}
	}
	return kept.saved(readClock()), nil
}

// readOwn reads a regular file of this user. It does not wait for the other end of a pipe.
func readOwn(path string) ([]byte, error) {
	file, err := openOwn(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%w: has %d bytes", ErrForeign, info.Size())
	}
	return io.ReadAll(io.LimitReader(file, maxSize))
}

func openOwn(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: a symbolic link", ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	switch err = unix.Fstat(int(file.Fd()), &stat); {
	case err != nil:
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%w: no regular file", ErrForeign)
	case int(stat.Uid) != os.Geteuid():
		err = fmt.Errorf("%w: belongs to uid %d", ErrForeign, stat.Uid)
	default:
		return file, nil
	}
	_ = file.Close()
	return nil, err
}

// Save replaces all that was kept, at once: whoever reads finds the old file or the new one. It does
// not wait for a disk (no fsync): the file must survive this process, not the machine.
func (f *File) Save(s rollout.Snapshots) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clock := readClock()
	f.service = encode(line{Service: &service{Number: s.Number}})
	clear(f.rollouts)
	clear(f.servers)
	for _, r := range s.Rollouts {
		f.rollouts[r.Number] = encode(line{Rollout: newRollout(r, clock)})
		for _, server := range r.Members {
			if server.State.IsPersistent() {
				server.Rollout = r.Number
				f.servers[server.PID] = keptServer{r.Number, encode(line{Server: newServer(server, clock)})}
			}
		}
	}
	return f.wrap("write", f.replace())
}

// Rollout replaces what was kept of one rollout, but not of its servers; see Note.
func (f *File) Rollout(r rollout.Snapshot) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	encoded := encode(line{Rollout: newRollout(r, readClock())})
	f.rollouts[r.Number] = encoded
	return f.wrap("write", f.append(encoded))
}

// Forget ends what was kept of a rollout and its servers; see Note.
func (f *File) Forget(number uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rollouts, number)
	maps.DeleteFunc(f.servers, func(_ selector.PID, s keptServer) bool { return s.rollout == number })
	return f.wrap("write", f.append(encode(line{Forget: number})))
}

// Note replaces what was kept of one server, or forgets it when its state is not one to keep. When
// Note returns without an error, the kernel has the line, and all that was written before. What could not be written is
// written with the next call that writes, in order; see Flush.
func (f *File) Note(s rollout.MemberSnapshot) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	encoded := encode(line{Server: newServer(s, readClock())})
	if s.State.IsPersistent() {
		f.servers[s.PID] = keptServer{s.Rollout, encoded}
	} else {
		delete(f.servers, s.PID)
	}
	return f.wrap("write", f.append(encoded))
}

// Flush writes what could not be written; see Note.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return f.wrap("write", f.replace())
	}
	return f.wrap("write", f.add())
}

// append adds a line to the file, or writes it anew.
func (f *File) append(encoded []byte) error {
	if f.notes++; f.file == nil || f.notes > maxNotes {
		return f.replaceForNote()
	}
	f.unwritten = append(f.unwritten, encoded...)
	return f.add()
}

// add writes the lines that are due, in one piece and wholly or not at all: the next one must not
// begin in the middle of a line.
func (f *File) add() error {
	n, err := f.file.Write(f.unwritten)
	if err == nil {
		f.size += int64(n)
		f.unwritten = f.unwritten[:0]
		return nil
	}
	if n > 0 && f.file.Truncate(f.size) != nil || len(f.unwritten) > maxUnwritten {
		f.drop() // a whole new file is needed
	}
	return err
}

// replaceForNote tries not more often than the disk deserves: there may be a note for each of
// thousands of servers.
func (f *File) replaceForNote() error {
	if f.failed == nil || time.Since(f.failedAt) >= retryAfter {
		f.failed = f.replace()
		f.failedAt = time.Now()
	}
	return f.failed
}

// replace writes a whole file beside the old one and puts it into its place.
func (f *File) replace() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	content := encode(header{Version: version, BootID: text(boot), Serves: text(f.serves)})
	content = append(content, f.service...)
	for _, number := range slices.Sorted(maps.Keys(f.rollouts)) {
		content = append(content, f.rollouts[number]...)
	}
	for _, pid := range slices.Sorted(maps.Keys(f.servers)) {
		content = append(content, f.servers[pid].line...)
	}
	file, err := f.create(content)
	f.drop() // also when there is no new one: notes must not go on after what Save was to replace
	if err != nil {
		return err
	}
	f.file, f.size, f.notes, f.failed = file, int64(len(content)), 0, nil
	return nil
}

// create leaves no half of a file behind unless the process is killed; then the next one removes it.
func (f *File) create(content []byte) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return nil, err
	}
	next := f.path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(content); err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		_ = file.Close()
		_ = os.Remove(next)
		return nil, err
	}
	return file, nil
}

// drop gives up the open file. What was not written into it is part of the next whole one.
func (f *File) drop() {
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.unwritten = nil, nil
}

// Close lets go of the file, which stays. A later Save or Note would open it again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop()
	return nil
}

// wrap says of which file err is, once.
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

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
