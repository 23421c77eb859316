// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// maxContainerName bounds the stored path of a control group, in bytes.
const maxContainerName = 1 << 10

// readContainer finds the control group and the container of the process. Both are shown and can be selected by, and no
// decision depends on them, so an error leaves them empty.
func (r *reader) readContainer() error {
	text, err := readFile(r.base(), "cgroup", r.buf)
	switch {
	case errors.Is(err, ErrGone):
		return err
	case err == nil:
		r.p.Cgroup = cgroupOf(text)
		r.p.Container = containerOf(r.p.Cgroup)
	}
	r.isContainerUnnamed = r.p.Container == ""
	return nil
}

// readPIDNamespace names a container by its PID namespace if no runtime has named it. A process with a single PID in a proc
// file system of our PID namespace lives in that namespace, too.
func (r *reader) readPIDNamespace(s status) {
	if !r.isContainerUnnamed || s.pids == 1 {
		return
	}
	if pids, err := namespace(r.base(), "ns/pid"); err == nil && pids != r.fs.pids {
		r.p.Container = fmt.Sprintf("pid:[%d]", pids)
	}
}

// cgroupOf returns the path in the hierarchy in which runtimes name the container. That is the longest path: cgroup v2 where
// it is in use; an unused hierarchy shows "/".
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

// containerOf returns the id of the innermost container in the path of a control group. It knows names of 64 hexadecimal
// digits (Docker, Podman, containerd, CRI-O, with the prefixes of their systemd scopes), LXC and systemd-nspawn.
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
