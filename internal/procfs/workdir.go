// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import "golang.org/x/sys/unix"

// maxWorkDir limits the length of a working directory in bytes: it is kept for each server. Of a longer one the end is kept.
const maxWorkDir = 256

// readWorkDir reads the working directory, which decides nothing: an error only leaves it empty. It needs no timeout, because no
// name is looked up (d_path in fs/d_path.c, Linux 6.12).
func (r *reader) readWorkDir() {
	const cut = "..."
	n, err := unix.Readlinkat(r.base(), "cwd", r.buf)
	if err != nil || n <= 0 {
		return
	}
	dir := string(r.buf[:n])
	if len(dir) > maxWorkDir {
		dir = cut + dir[len(dir)-maxWorkDir+len(cut):]
	}
	r.p.WorkDir = dir
}
