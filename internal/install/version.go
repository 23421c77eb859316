// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// version tells one content of a file from the next. If any field differs, the file was written to or replaced. Only a regular
// file has size and times here: those of a directory change with its entries.
type version struct {
	selector.Image
	size                int64
	mtime, ctime, btime moment
}

// moment is a time in the form of statx. File systems have years that a time.Duration since 1970 does not.
type moment struct {
	sec  int64
	nsec uint32
}

func momentOf(t unix.StatxTimestamp) moment { return moment{t.Sec, t.Nsec} }

// time returns the zero Time for the zero moment.
func (m moment) time() time.Time {
	if m == (moment{}) {
		return time.Time{}
	}
	return time.Unix(m.sec, int64(m.nsec))
}

// isRegular reports whether v is the version of a regular file: others have no change time.
func (v version) isRegular() bool { return v.ctime != (moment{}) }

func setFile(i *selector.Install, v version) {
	i.Image, i.Size = v.Image, v.size
	i.Modified, i.Changed, i.Born = v.mtime.time(), v.ctime.time(), v.btime.time()
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
	v := version{Image: statxImage(s)}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return v
	}
	v.size, v.mtime, v.ctime = int64(s.Size), momentOf(s.Mtime), momentOf(s.Ctime)
	if s.Mask&unix.STATX_BTIME != 0 {
		v.btime = momentOf(s.Btime)
	}
	return v
}
