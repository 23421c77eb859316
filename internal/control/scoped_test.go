// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// asReader makes the test binary print the answers to all requests that read, each after its path.
const asReader = "CONTROL_TEST_AS_READER"

var readings = []string{
	"/v1/status", "/v1/servers", "/v1/rollouts", "/v1/events", "/v1/history", "/v1/gate?pid=8001", "/v1/gate?pid=8002", "/metrics", "/healthz",
}

func readAll(socket string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	for _, path := range readings {
		response, err := client.Get("http://service" + path)
		if err != nil {
			fmt.Println(path, err)
			continue
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		fmt.Println(path, response.StatusCode, string(body))
	}
}

// serveUsers is a service with a server of each of two users in one rollout. What belongs to the second user, and how many
// of its servers there are, contains 8002.
func serveUsers(t *testing.T) *scene {
	t.Helper()
	s := listen(t)
	server := func(pid selector.PID, uid uint32) api.ServerStatus {
		text := fmt.Sprintf("/home/%d/rag-rat", pid)
		return api.ServerStatus{
			Server:  api.Server{PID: pid, UID: uid, UpgradeBin: text, Args: []string{text}, Cgroup: text, Decision: selector.Decision{Verdict: selector.Outdated}},
			Rollout: &rollout.Member{PID: pid, UID: uid, Rollout: 3, State: rollout.Pending, Detail: text},
		}
	}
	install := func(pid selector.PID, uid uint32) api.InstallStatus {
		return api.InstallStatus{Install: selector.Install{Path: fmt.Sprintf("/home/%d/rag-rat", pid)}, UID: uid, Servers: int(pid), Rollout: 3}
	}
	s.of.servers = []api.ServerStatus{server(8001, other), server(8002, other+1)}
	report := rollout.Report{
		Number: 3, Install: install(8002, 0).Install, Phase: rollout.PhaseCanary, Servers: map[rollout.State]int{rollout.Pending: 8002}, Deaths: 8002,
		Late: 8002, LateCrashes: []rollout.LateCrash{{UID: other + 1, ServerDeath: rollout.ServerDeath{PID: 8002}}},
		Halts:   []rollout.Halt{{UID: other + 1, Reason: "server 8002 died"}},
		Foreign: []rollout.ForeignDeaths{{Sender: 8002, Deaths: 8002}}, Waits: rollout.Waits{Servers: 8002},
		ByUser: map[uint32]rollout.UserReport{
			other:     {Servers: map[rollout.State]int{rollout.Pending: 1}, Late: 1, LateCrashes: []rollout.LateCrash{{UID: other, ServerDeath: rollout.ServerDeath{PID: 7001}}}},
			other + 1: {Servers: map[rollout.State]int{rollout.Pending: 8002}, Deaths: 8002, Late: 8002},
		},
	}
	hers := report
	hers.Number, hers.ByUser = 2, map[uint32]rollout.UserReport{other + 1: report.ByUser[other+1]}
	s.of.status = api.Status{
		Learned: true, Installs: []api.InstallStatus{install(8001, other), install(8002, other+1)},
		Verdicts: map[selector.Verdict]int{selector.Outdated: 8002}, Rollouts: []rollout.Report{hers, report},
	}
	s.gate = api.Gate{Active: true, Refused: 8002, Latest: []api.Refusal{{Sender: 8002, Target: 8001, Count: 1}, {Sender: 8001, Target: 8001, Count: 3}}}
	from := rollout.None
	for _, one := range s.of.servers {
		s.feed.Moved(*one.Rollout, from)
	}
	s.feed.Rollout(report)
	s.feed.Trouble(fmt.Errorf("cannot read 8002"))
	if err := os.Chmod(filepath.Dir(s.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func answers(t *testing.T, socket string, as syscall.Credential) map[string]string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asReader + "=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &as}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, path := range readings {
		_, rest, _ := strings.Cut("\n"+string(out), "\n"+path+" ")
		text, _, _ := strings.Cut(rest, "\n/")
		got[path] = text
	}
	return got
}

// TestRequests_AnotherUser_OwnOnly: no answer to a user says what belongs to another, or how much of it there is.
func TestRequests_AnotherUser_OwnOnly(t *testing.T) {
	needRoot(t)
	s := serveUsers(t)
	s.start(t)
	got := answers(t, s.socket, syscall.Credential{Uid: other, Gid: other})
	for path, text := range got {
		if strings.Contains(text, "8002") && path != "/v1/gate?pid=8002" {
			t.Errorf("%s tells of another user: %s", path, text)
		}
	}
	for path, want := range map[string]string{
		"/v1/status": "200 ", "/v1/servers": "/home/8001/rag-rat", "/v1/rollouts": "/home/8001/rag-rat", "/v1/events": `"pid":8001`,
		"/v1/history": "200 ", "/v1/gate?pid=8001": "200 ", "/v1/gate?pid=8002": "403 ", "/metrics": "403 ", "/healthz": "200 ok",
	} {
		if !strings.Contains(got[path], want) {
			t.Errorf("%s: %s, want %q in it", path, got[path], want)
		}
	}
	var status control.Status
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got["/v1/status"], "200 ")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Rollouts) != 1 || status.Rollouts[0].Number != 3 || status.Rollouts[0].Servers[rollout.Pending] != 1 ||
		len(status.Rollouts[0].Halts) != 0 || status.Rollouts[0].Late != 1 || len(status.Rollouts[0].LateCrashes) != 1 || status.Verdicts[selector.Outdated] != 1 || status.Gate.Refused != 3 || len(status.Installs) != 1 {
		t.Errorf("the status of the user is %+v", status)
	}
	if none := answers(t, s.socket, syscall.Credential{Uid: other + 2, Gid: other + 2}); strings.Contains(strings.Join([]string{
		none["/v1/status"], none["/v1/servers"], none["/v1/rollouts"], none["/v1/events"], none["/v1/history"],
	}, ""), "800") {
		t.Errorf("a user without servers reads %v", none)
	}
}

// TestRequests_GroupAndRoot_ReadAll: the group is that of the socket, or the one that the operator named.
func TestRequests_GroupAndRoot_ReadAll(t *testing.T) {
	needRoot(t)
	const named = 4323
	for _, c := range []struct {
		peer  string
		as    syscall.Credential
		named bool
		all   bool
	}{
		{"root", syscall.Credential{}, false, true},
		{"a member", syscall.Credential{Uid: other, Gid: group}, false, true},
		{"a member by a further group", syscall.Credential{Uid: other, Gid: other, Groups: []uint32{7, group}}, false, true},
		{"a member of the named group", syscall.Credential{Uid: other, Gid: other, Groups: []uint32{named}}, true, true},
		{"a member of the socket's group, another is named", syscall.Credential{Uid: other, Gid: group}, true, false},
	} {
		s := serveUsers(t)
		if err := os.Chown(s.socket, 0, group); err != nil {
			t.Fatal(err)
		}
		if c.named {
			s.group = new(uint32(named))
		}
		s.start(t)
		got := answers(t, s.socket, c.as)
		for _, path := range []string{"/v1/status", "/v1/servers", "/v1/rollouts", "/v1/events"} {
			if strings.Contains(got[path], "/home/8002/rag-rat") != c.all {
				t.Errorf("%s reads %s: %s", c.peer, path, got[path])
			}
		}
		if isRead := strings.HasPrefix(got["/metrics"], "200"); isRead != c.all {
			t.Errorf("%s reads the metrics: %s", c.peer, got["/metrics"])
		}
		s.stop()
	}
}

// TestPeer_UserNamespace_IsItsHostUser: the user of a container with a namespace of its own has the host's number, and not
// the one that it has there.
func TestPeer_UserNamespace_IsItsHostUser(t *testing.T) {
	needRoot(t)
	s := serveUsers(t)
	s.start(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{asReader + "=" + s.socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: other, HostID: other + 7, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: other, HostID: other + 7, Size: 1}},
		Credential:  &syscall.Credential{Uid: other, Gid: other, NoSetGroups: true},
	}
	deadline := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if text := string(out); !strings.Contains(text, "/v1/servers 200") || strings.Contains(text, "/home/") {
		t.Errorf("uid %d of a namespace reads %s", other, text)
	}
}
