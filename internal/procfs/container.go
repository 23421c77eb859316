// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// longestName bounds what is kept of a control group's path and of a container's id.
const maxContainerName = 1 << 10

// readContainer finds out what the process runs in. It is shown, and can be selected by; nothing else
// depends on it, so that what cannot be read is left out.
func (r *reader) readContainer() error {
	fd, err := openFile(r.base(), "cgroup")
	if err != nil {
		return gone(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if text, err := read(fd, r.buf, func(b []byte) bool { return len(b) >= bufferSize }); err == nil {
		r.p.Cgroup = cgroupOf(text)
		r.p.Container = containerOf(r.p.Cgroup)
	}
	r.isContainerUnnamed = r.p.Container == ""
	return nil
}

// readPIDNamespace names a container by its PID namespace, where no runtime did. A process that has one number in
// a proc file system of our PID namespace lives in that, too.
func (r *reader) readPIDNamespace(s status) {
	if !r.isContainerUnnamed || r.fs.isOwnPIDNamespace && s.pids == 1 {
		return
	}
	if pids, err := namespace(r.base(), "ns/pid"); err == nil && pids != r.fs.pids {
		r.p.Container = fmt.Sprintf("pid:[%d]", pids)
	}
}

// cgroupOf is the path in the hierarchy that runtimes name after the container: that of cgroup v2,
// where it is in use, else the longest, for hierarchies in which nobody put anything show "/".
func cgroupOf(text []byte) string {
	var longest []byte
	for line := range bytes.Lines(text) {
		_, line, _ = bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{':'})
		if _, path, _ := bytes.Cut(line, []byte{':'}); len(path) > len(longest) {
			longest = path
		}
	}
	return string(longest[:min(len(longest), maxContainerName)])
}

// containerOf is the id that a container runtime left in the path of a control group, of the innermost
// container: a name of 64 hexadecimal digits (Docker, Podman, containerd, CRI-O, with the prefixes that
// they give systemd's scopes), or that of an LXC or a systemd-nspawn container.
func containerOf(cgroup string) string {
	parts := strings.Split(cgroup, "/")
	for i := len(parts) - 1; i > 0; i-- {
		part := strings.TrimSuffix(parts[i], ".scope")
		if name, is := strings.CutPrefix(part, "machine-"); is && parts[i-1] == "machine.slice" {
			return name
		}
		if name, is := strings.CutPrefix(part, "lxc.payload."); is || parts[i-1] == "lxc" {
			return name
		}
		if id := part[strings.LastIndexByte(part, '-')+1:]; isID(id) {
			return id
		}
	}
	return ""
}

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
