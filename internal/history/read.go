// SPDX-License-Identifier: MIT

//go:build linux

package history

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// maxLine bounds the line of an entry, in bytes.
const maxLine = 64 << 10

// Entry is one entry of a [Store].
type Entry struct {
	// Number is at least 1. A later entry replaces an earlier one with the same number.
	Number uint64 `json:"n"`
	// User accounts for the entry. Numbers below 0 stand for no user; what they stand for shares the room like users.
	User int64 `json:"user"`
	// Text is a JSON object.
	Text json.RawMessage `json:"entry"`
}

// line is e in the form of the files.
func (e Entry) line() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// parse reads what line has written.
func parse(text []byte) (e Entry, ok bool) {
	err := json.Unmarshal(text, &e)
	return e, err == nil && e.Number > 0 && len(e.Text) > 0 && e.Text[0] == '{'
}

// Read returns what the files of a [Store] have, ascending by number. An error says what could not be read; the entries are
// those that could.
func Read(dir, name string, most int) ([]Entry, error) {
	var all []Entry
	var errs []error
	for _, path := range []string{oldPath(dir, name), newPath(dir, name)} {
		entries, err := readFile(path, int64(2*most))
		all, errs = append(all, entries...), append(errs, err)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	return latest(all), errors.Join(errs...)
}

// latest leaves the last of the entries with the same number.
func latest(all []Entry) []Entry {
	kept := all[:0]
	for i, e := range all {
		if i == len(all)-1 || all[i+1].Number != e.Number {
			kept = append(kept, e)
		}
	}
	return kept
}

// readFile reads the entries at the end of a file of this user, at most as many bytes.
func readFile(path string, most int64) ([]Entry, error) {
	file, size, err := openOwn(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	from := max(0, size-most)
	entries, damaged, err := readLines(io.NewSectionReader(file, from, size-from))
	if from > 0 {
		damaged++
	}
	if damaged > 0 {
		err = errors.Join(err, fmt.Errorf("%q: %d damaged lines are left out", path, damaged))
	}
	return entries, err
}

// readLines reads entries, and counts the lines that are none.
func readLines(from io.Reader) (entries []Entry, damaged int, err error) {
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		isLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if e, ok := parse(line); ok && !isLong {
			e.Text = bytes.Clone(e.Text)
			entries = append(entries, e)
		} else if len(bytes.TrimSpace(line)) > 0 {
			damaged++
		}
		switch {
		case errors.Is(err, io.EOF):
			return entries, damaged, nil
		case err != nil:
			return entries, damaged, err
		}
	}
}

// openOwn opens a regular file that belongs to this user. It follows no symbolic link at the end of the path, and does not
// block on a FIFO.
func openOwn(path string, flags int) (*os.File, int64, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, 0, fmt.Errorf("%q is a symbolic link: remove it", path)
	}
	if err != nil {
		return nil, 0, err
	}
	var stat unix.Stat_t
	switch err = unix.Fstat(int(file.Fd()), &stat); {
	case err != nil:
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%q is no regular file: remove it", path)
	case int(stat.Uid) != os.Geteuid():
		err = fmt.Errorf("%q belongs to uid %d: remove it", path, stat.Uid)
	default:
		return file, stat.Size, nil
	}
	_ = file.Close()
	return nil, 0, err
}
