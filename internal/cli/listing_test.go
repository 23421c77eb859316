// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
)

// TestFiles_SeveralViews_CountOnce (newcomer 2.9): one file at two paths, for two users and a container.
func TestFiles_SeveralViews_CountOnce(t *testing.T) {
	t.Parallel()
	image := selector.Image{Dev: 1, Ino: 2}
	install := func(path string) selector.Install {
		return selector.Install{Path: path, Image: image, State: selector.StateReady}
	}
	server := func(uid uint32, container, path string, target selector.Image) api.ServerStatus {
		return api.ServerStatus{Server: api.Server{UID: uid, Container: container, UpgradeBin: path, Target: target}}
	}
	missing := selector.Install{Path: "/gone", State: selector.StateMissing}
	got := api.Files([]selector.Install{install("/a"), install("/a"), missing, install("/b")}, []api.ServerStatus{
		server(7, "", "/a", image), server(6, "", "/a", image), server(7, "box", "/b", image),
		server(8, "", "/gone", selector.Image{}), server(9, "", "", selector.Image{}),
	})
	want := []api.InstalledFile{
		{Install: install("/a"), Paths: []string{"/a", "/b"}, Users: []uint32{6, 7}, Containers: []string{"box"}, Servers: 3},
		{Install: missing, Paths: []string{"/gone"}, Users: []uint32{8}, Containers: []string{}, Servers: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the files differ (-want +got):\n%s", diff)
	}
}

// TestList_OverLimit_SaysSo also without a service.
func TestList_OverLimit_SaysSo(t *testing.T) {
	t.Parallel()
	l := listing{IsSurvey: true, known: &knowledge{err: errInterrupted}, Servers: make([]api.ServerStatus, controller.DefaultMaxPerUser)}
	if lines := l.adviceLines(&options{}, nil, newUserNames()); len(lines) > 0 {
		t.Errorf("at the limit: %q", lines)
	}
	l.Servers = append(l.Servers, api.ServerStatus{})
	if lines := l.adviceLines(&options{}, nil, newUserNames()); len(lines) != 1 || !strings.Contains(lines[0], "has 4097 servers: a service upgrades 4096 of a user") {
		t.Errorf("over the limit: %q", lines)
	}
}
