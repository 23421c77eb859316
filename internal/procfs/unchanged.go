// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Unchanged reports whether the process of p is alive, has not exec'd since p was read, and has the same view, if p has one.
// It reads one file and two links, and does not block.
//
// It is false if that is not certain: the layout may not be read, p exec'd while it was read, or the leader thread has exited.
// Without address randomisation it misses an exec that has the same layout.
func (fs *FS) Unchanged(p selector.Process) bool {
	if p.MidExec || !fs.hasView(p) {
		return false
	}
	was := stat{startTime: p.StartTime, layout: p.Layout}
	if p.Forked {
		was.flags = flagForkNoExec
	}
	// Read stat last: the view was then that of this process, not of the next one with its PID.
	s, err := fs.statAndLayout(p.PID)
	return err == nil && !s.hasExited() && s.sameImage(was)
}

// hasView reports whether the process with the PID of p has the view of p.
func (fs *FS) hasView(p selector.Process) bool {
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

// statAndLayout reads the stat file of one process with the layout.
func (fs *FS) statAndLayout(pid selector.PID) (stat, error) {
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
	return parseStatAndLayout(line)
}
