// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import "strings"

// outermostContainer returns the container that has limits of its own: the outermost one in the path of a control group,
// provided that root made that group. A group that is delegated to a user, or to the root of a container, has any number of
// groups below it, with any name. So every part of the path before the container must be one that is never delegated: a slice
// other than user.slice (systemd delegates services and scopes only), or a group that a runtime makes at the top.
func outermostContainer(cgroup string) string {
	for i := 1; i < len(cgroup); {
		end := len(cgroup)
		if n := strings.IndexByte(cgroup[i:], '/'); n >= 0 {
			end = i + n
		}
		if name := containerOf(cgroup[:end]); name != "" {
			return name
		}
		if !isNeverDelegated(cgroup[i:end], i == 1) {
			return ""
		}
		i = end + 1
	}
	return ""
}

func isNeverDelegated(part string, isTop bool) bool {
	switch part {
	case "user.slice":
		return false
	case "docker", "kubepods", "lxc", "libpod_parent":
		return isTop
	case "besteffort", "burstable", "guaranteed":
		return !isTop
	}
	return strings.HasSuffix(part, ".slice") || !isTop && strings.HasPrefix(part, "pod")
}

// cgroup reads the control group of a process. It is empty where that cannot be read.
func (fs *FS) cgroup(dir int) string {
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	text, err := readFile(dir, "cgroup", *buf)
	if err != nil {
		return ""
	}
	return cgroupOf(text)
}
