// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Unchanged reports whether the process that p was read of lives, has not exec'd since the look that gave p
// began, and sees the same files, if p has a View. It reads one file and two links, which wait for nobody. It is
// false whenever that cannot be told: where things stand may not be seen, p is of a process that exec'd while it
// was read, or the leader thread has exited. An exec that puts everything where it stood may pass for none, where
// addresses are not randomised.
func (fs *FS) Unchanged(p selector.Process) bool {
	if p.MidExec || !fs.sees(p) {
		return false
	}
	was := stat{startTime: p.StartTime, layout: p.Layout}
	if p.Forked {
		was.flags = flagForkNoExec
	}
	// Last, so that the view was that of this process, and not of the next one with its number.
	s, err := fs.statOf(p.PID)
	return err == nil && !s.hasExited() && s.sameImage(was)
}

// sees reports whether the process with the number of p sees the files that p did.
func (fs *FS) sees(p selector.Process) bool {
	if p.View == (selector.View{}) {
		return true
	}
	root, view, err := openRoot(fs.Descriptor(), p.PID.String()+"/")
	if err != nil {
		return false
	}
	_ = unix.Close(root)
	return view == p.View
}

// statOf reads the stat file of one process, with the layout.
func (fs *FS) statOf(pid selector.PID) (stat, error) {
	fd, err := fs.openOf(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	line, err := read(fd, *buf, all)
	if err != nil {
		return stat{}, err
	}
	return parseWhole(line)
}
