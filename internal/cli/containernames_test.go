// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestContainer_KnownToRuntime_HasItsName as the runtimes keep it on disk. What cannot be read is shown by its id.
func TestContainer_KnownToRuntime_HasItsName(t *testing.T) {
	t.Parallel()
	id := func(digit string) string { return strings.Repeat(digit, idLength) }
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	names := newUserNames()
	names.files = fstest.MapFS{
		"var/lib/docker/containers/" + id("a") + "/config.v2.json":                         file(`{"ID":"a","Name":"/web"}`),
		"var/lib/containers/storage/overlay-containers/containers.json":                    file(`[{"id":"` + id("b") + `","names":["agents\u001b[2J"]}]`),
		"run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id("c") + "/config.json":  file(`{"annotations":{"io.kubernetes.cri.container-name":"main","io.kubernetes.cri.sandbox-name":"agents-0"}}`),
		"run/containerd/io.containerd.runtime.v2.task/default/" + id("d") + "/config.json": file(`{"annotations":{"nerdctl/name":"box"}}`),
		"var/lib/docker/containers/" + id("e") + "/config.v2.json":                         file(`not JSON`),
	}
	for container, want := range map[string]string{
		"":            "-",
		id("a"):       "web (aaaaaaaaaaaa)",
		id("b"):       `agents\x1b[2J (bbbbbbbbbbbb)`,
		id("c"):       "agents-0/main (cccccccccccc)",
		id("d"):       "box (dddddddddddd)",
		id("e"):       "eeeeeeeeeeee",
		id("f"):       "ffffffffffff",
		"nspawn-name": "nspawn-name",
	} {
		if got := names.container(container); got != want {
			t.Errorf("%.12s is %q, want %q", container, got, want)
		}
	}
	names.left = 0
	if got := names.container(id("0")); got != "000000000000" {
		t.Errorf("without time left, a container is %q", got)
	}
}
