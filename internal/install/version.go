// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// version tells one content of a file from the next. If any field differs, the file was written to or replaced. Only a regular
// file has size and times here: those of a directory change with its entries.
type version struct {
	selector.Image
	Size     int64  `json:"size"`
	Modified moment `json:"modified"`
	Changed  moment `json:"changed"`
	Born     moment `json:"born"`
}

// moment is a time in seconds and nanoseconds, as in statx(2). File systems have years that neither RFC 3339 nor a
// time.Duration since 1970 has.
type moment [2]int64

func momentOf(t unix.StatxTimestamp) moment { return moment{t.Sec, int64(t.Nsec)} }

// time returns the zero Time for the zero moment.
func (m moment) time() time.Time {
	if m == (moment{}) {
		return time.Time{}
	}
	return time.Unix(m[0], m[1])
}

// noRoot is the result for a root that cannot be opened.
func noRoot(path string, err error) selector.Install {
	return selector.Install{Path: path, State: selector.StateMissing, Detail: sys.ErrorText(err)}
}

func stateOf(err error) selector.State {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return selector.StateMissing
	}
	return selector.StateUnready
}

// statx reads the birth time, too, which fstat(2) does not have.
func statx(fd int) (unix.Statx_t, error) {
	var s unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s)
	return s, err
}

func versionFrom(s *unix.Statx_t) version {
	v := version{Image: reach.FileOf(s).Image}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return v
	}
	v.Size, v.Modified, v.Changed = int64(s.Size), momentOf(s.Mtime), momentOf(s.Ctime)
	if s.Mask&unix.STATX_BTIME != 0 {
		v.Born = momentOf(s.Btime)
	}
	return v
}
