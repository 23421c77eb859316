// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"strings"
	"testing"
)

func TestContainer_RuntimePath_HasItsID(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789abcdef", 4)
	service := "/user.slice/user-1000.slice/user@1000.service/user.slice"
	for _, c := range [][2]string{
		{"/docker/" + id, id},
		{"/system.slice/docker-" + id + ".scope", id},
		{"/machine.slice/libpod-" + id + ".scope", id},
		{service + "/libpod-" + id + ".scope/container", id},
		{"/kubepods/burstable/pod3f/" + id, id},
		{"/kubepods.slice/kubepods-pod3f.slice/cri-containerd-" + id + ".scope", id},
		{"/kubepods.slice/crio-" + id + ".scope/sub/sub", id},
		{"/lxc/web", "web"},
		{"/lxc.payload.web/init.scope", "web"},
		{"/machine.slice/machine-web.scope/payload", "web"},
		{"/user.slice/machine-web.scope", ""},
		{"/docker/" + id[1:], ""},
		{"/docker/" + id[1:] + "G", ""},
		{"/", ""},
		{"", ""},
		{"/system.slice/docker.service", ""},
	} {
		if got := containerOf(c[0]); got != c[1] {
			t.Errorf("%q is container %q, want %q", c[0], got, c[1])
		}
	}
}

func TestOutermost_MadeByUser_IsNone(t *testing.T) {
	t.Parallel()
	id, other := strings.Repeat("0123456789abcdef", 4), strings.Repeat("f", 64)
	user := "/user.slice/user-1000.slice/user@1000.service"
	for _, c := range [][2]string{
		{"/docker/" + id, id},
		{"/system.slice/docker-" + id + ".scope", id},
		{"/machine.slice/libpod-" + id + ".scope", id},
		{"/kubepods/burstable/pod3f/" + id, id},
		{"/kubepods.slice/kubepods-pod3f.slice/cri-containerd-" + id + ".scope", id},
		{"/lxc/web", "web"},
		{"/lxc.payload.web/init.scope", "web"},
		{"/machine.slice/machine-web.scope/payload", "web"},
		// The root of a container makes groups below its own.
		{"/docker/" + id + "/docker/" + other, id},
		{"/machine.slice/machine-web.scope/payload/docker/" + other, "web"},
		// A user makes groups below those that were delegated.
		{user + "/" + id, ""},
		{user + "/user.slice/libpod-" + id + ".scope/container", ""},
		{user + "/app.slice/docker/" + id, ""},
		{"/user.slice/user-1000.slice/session-2.scope/docker/" + id, ""},
		{"/system.slice/build.service/docker/" + id, ""},
		{"/system.slice/build.service/x.slice/docker-" + id + ".scope", ""},
		{"/system.slice/run-1.scope/lxc/web", ""},
		{"/alice/docker/" + id, ""},
		{"/alice/lxc/web", ""},
		{"/docker/pod1/../" + id, ""},
		{"/../docker/" + id, ""},
		{"/podalice/" + id, ""},
		{"", ""},
		{"/", ""},
		{"/system.slice", ""},
		{"//" + id, ""},
	} {
		if got := outermostContainer(c[0]); got != c[1] {
			t.Errorf("%q has the limits of container %q, want %q", c[0], got, c[1])
		}
	}
}

func TestCgroup_SeveralHierarchies_IsTheLongest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0::/system.slice/a.service\n":                                 "/system.slice/a.service",
		"12:pids:/docker/x\n5:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n": "/docker/x",
		"0::/a:b:c\n": "/a:b:c",
		"0::/" + strings.Repeat("x", 5000) + "\n": "/" + strings.Repeat("x", maxContainerName-1),
		"":           "",
		"nonsense\n": "",
	} {
		if got := cgroupOf([]byte(text)); got != want {
			t.Errorf("%.80q gives %.80q, want %.80q", text, got, want)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("0::/docker/x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := cgroupOf(text)
		if id := containerOf(path); len(path) > maxContainerName || !strings.Contains(path, id) {
			t.Errorf("%q gives %q, %q", text, path, id)
		}
	})
}
