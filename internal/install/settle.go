// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/sys"
)

// maxSettleFactor is how many settle times a changing file may take: 0.8 s for the default of 200 ms. The file is checked
// then; the check fails while it is open for writing.
const maxSettleFactor = 4

// WaitSettled waits until the file at a path has not changed for settle, and at most four times that. It returns at once for a
// file that has settled before, is missing, or is not a regular file. It returns early when ctx ends. It opens no file.
func WaitSettled(ctx context.Context, path RootedPath, settle time.Duration) {
	path = path.absolute()
	limit := time.Now().Add(maxSettleFactor * settle)
	for v := currentVersion(path); v != (version{}); {
		wait := min(v.untilSettled(settle, time.Now()), time.Until(limit))
		if wait <= 0 || sys.WaitFor(ctx.Done(), wait) {
			return
		}
		now := currentVersion(path)
		if now == v {
			return
		}
		v = now
	}
}

// currentVersion is zero also where the file system does not answer in time.
func currentVersion(path RootedPath) version {
	v, _ := within(fileTimeout, func() version {
		root, err := path.open()
		if err != nil {
			return version{}
		}
		defer func() { _ = unix.Close(root) }()
		s := path.inspector(root, nil)
		return s.versionOf(path.Path)
	})
	return v
}

// untilSettled returns how long the file must still stay unchanged. It uses ctime, because a writer cannot set it back. A time
// in the future has no meaning, so the whole settle time is left.
func (v version) untilSettled(settle time.Duration, now time.Time) time.Duration {
	age := now.Sub(v.Changed.time())
	if age < 0 {
		return settle
	}
	return settle - age
}
