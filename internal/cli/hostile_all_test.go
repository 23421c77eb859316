// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/testfleet"
)

// hostileFor makes the test below longer than its ten seconds: make test-hostile runs it for a minute.
const hostileFor = "EBPF_UPGRADER_TEST_HOSTILE_FOR"

// TestHostileUser_AllAtOnce_OthersServed runs the service under the limits of its unit. One user has servers with 65,536
// groups, with installs behind hundreds of folders and in file systems that never answer, replaces an install without a
// pause, and makes storms of execs and signals. The installs of another user are rolled out a second later at most (two seconds
// beside the race detector). What the kernel delays is not the service's: a second service under the same limits, which only
// answers, shows it.
func TestHostileUser_AllAtOnce_OthersServed(t *testing.T) {
	takesLong(t)
	needRoot(t)
	length, err := time.ParseDuration(cmp.Or(os.Getenv(hostileFor), "10s"))
	must(t, err)
	s := &siege{wholeHost: newWholeHost(t)}
	s.his = s.home(victim)
	s.servers = s.start(s.his, victim, 5)
	u := s.startUnit(build(t, "ebpf-upgrader/cmd/ebpf-upgrader"), s.args("auto"))
	eventually(t, "the victim's install is ready", s.isReady)
	client := s.client(t) // one for all queries: each has a connection of its own
	var calm time.Duration
	for range 3 {
		calm = max(calm, s.timeRollout(client))
	}
	s.attack(length)
	slowestAnswer, slowestEcho := s.measure(client, u.startEcho(t))
	rounds, slowest := 3, time.Duration(0)
	for begin := time.Now(); time.Since(begin) < length; rounds++ {
		slowest = max(slowest, s.timeRollout(client))
	}
	answer, echo := slowestAnswer(), slowestEcho()
	status, err := client.Status(within(t))
	must(t, err)
	t.Logf("the hostile user has %d installs; all verdicts: %v", len(status.Installs)-1, status.Verdicts)
	t.Logf("a rollout took %s at most without the attack, and %s in %d rounds of it; an answer took %s; one of the echo took %s",
		calm, slowest, rounds-3, answer, echo)
	if slowest > calm+longestStop+2*echo {
		t.Errorf("the attack delayed a rollout by %s", slowest-calm)
	}
	if answer > longestStop+2*echo {
		t.Errorf("the service did not answer for %s", answer)
	}
	for _, server := range s.servers {
		if n := server.Signals(); n != rounds {
			t.Errorf("server %d got %d signals for %d installs", server.PID(), n, rounds)
		}
	}
	u.isUnharmed(t, 128<<20)
}

// timeRollout replaces the victim's install once all servers are upgraded, and returns the time until all servers run it. The
// last rollout is not called complete before the service has inspected the hostile user's servers, which may belong to it.
func (s *siege) timeRollout(client *control.Client) time.Duration {
	s.t.Helper()
	for begin := time.Now(); !s.areUpgraded(client); _ = unix.Nanosleep(&unix.Timespec{Nsec: 50e6}, nil) {
		if time.Since(begin) > patience {
			s.t.Fatalf("the servers are not upgraded after %s", patience)
		}
	}
	begin := time.Now()
	s.his.replace()
	s.his.allUpgraded(s.servers)
	return time.Since(begin)
}

func (s *siege) areUpgraded(client *control.Client) bool {
	s.t.Helper()
	status, err := client.Status(within(s.t))
	must(s.t, err)
	for _, r := range status.Rollouts {
		if r.Install.Path == s.his.Path() && !r.Superseded && r.Settled() < r.Total() {
			return false
		}
	}
	return true
}

// measure measures the slowest answers of the service and of the echo, until each result is taken.
func (s *siege) measure(client *control.Client, echo func(context.Context)) (answer, fromEcho func() time.Duration) {
	during := func(do func(context.Context)) func() time.Duration {
		ctx, cancel := context.WithCancel(s.t.Context())
		most := make(chan time.Duration, 1)
		go func() { most <- slowest(ctx, 100*time.Millisecond, func() { do(ctx) }) }()
		return func() time.Duration { cancel(); return <-most }
	}
	return during(func(ctx context.Context) {
		if _, err := client.Status(ctx); err != nil && ctx.Err() == nil {
			s.t.Errorf("the service does not answer: %v", err)
		}
	}), during(echo)
}

// attack starts what the hostile user does, until the test ends. Its processes share the processor time of one user.
func (s *siege) attack(length time.Duration) {
	s.t.Helper()
	crowd := 300
	if length >= time.Minute {
		crowd = 1000
	}
	folders := s.folders(40, 240)
	group := newCgroup(s.t, "cpu")
	mine := s.home(hostile)
	must(s.t, testfleet.WriteUpgrading(mine.Path()))
	busy, err := testfleet.StartCrowd(50, testfleet.CrowdOptions{
		Upgrades: true, Argv0: s.name,
		Each: func(int) (string, *testfleet.Credential) {
			return mine.Path(), &testfleet.Credential{UID: hostile, GID: hostile}
		},
	})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, busy.Stop()) })
	s.hostileServer(filepath.Join(mounted(s.t, testfleet.MountMute), testfleet.Mute))
	s.hostileServer(filepath.Join(mounted(s.t, testfleet.MountSilent), "rag-rat"))
	s.liar("liar", asLong(mine.Path(), 200), asLong(s.his.Path(), 200), 0)
	s.trouble(group, "crowd", strconv.Itoa(crowd), folders)
	s.trouble(group, "storm", s.name, folders)
	s.trouble(group, "rename", mine.Path(), folders)
}

// folders makes chains of folders of the hostile user, and a file with the list of their ends. Each chain is as deep as
// given, and its path almost as long as a path may be.
func (s *siege) folders(chains, depth int) (list string) {
	s.t.Helper()
	dir := s.folder()
	long := strings.Repeat("d", 4000/depth-2)
	var ends []string
	for i := range chains {
		path := filepath.Join(dir, strconv.Itoa(i), strings.Repeat(long+"/", depth))
		must(s.t, os.MkdirAll(path, 0o755))
		ends = append(ends, path)
	}
	list = filepath.Join(dir, "list")
	must(s.t, os.WriteFile(list, []byte(strings.Join(ends, "\n")), 0o644))
	return list
}

// trouble starts the test binary as a process of the hostile user that looks like a server.
func (s *siege) trouble(group cgroup, role, what, folders string) {
	s.t.Helper()
	idle := filepath.Join(s.folder(), "idle")
	must(s.t, testfleet.WriteIdle(idle))
	cmd := exec.Command(s.newProgramOf(hostile))
	cmd.Args = []string{s.name, "mcp"}
	cmd.Env = []string{asTrouble + "=" + strings.Join([]string{role, what, folders, idle}, ":")}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: hostile, Gid: hostile}}
	for i := range uint32(65536) {
		cmd.SysProcAttr.Credential.Groups = append(cmd.SysProcAttr.Credential.Groups, 100_000+i)
	}
	out := &syncBuffer{}
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	must(s.t, err)
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // with its children
		_ = cmd.Wait()
	})
	group.add(s.t, cmd.Process.Pid)
	_, err = in.Write([]byte{'\n'})
	must(s.t, err)
	eventually(s.t, role+" is up", func() bool { return out.String() != "" })
}

// asTrouble makes the test binary one process of the hostile user.
const asTrouble = "EBPF_UPGRADER_TEST_AS_TROUBLE"

func init() {
	if text := os.Getenv(asTrouble); text != "" {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is in its group
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends, however it does
			_ = unix.Kill(0, unix.SIGKILL)
		}()
		what := strings.Split(text, ":")
		list, err := os.ReadFile(what[2])
		if err == nil {
			err = makeTrouble(what[0], what[1], strings.Split(string(list), "\n"), what[3])
		}
		fmt.Fprintln(os.Stderr, "hostile user:", err)
		os.Exit(1)
	}
}

func makeTrouble(role, what string, folders []string, idle string) error {
	// start starts a server of an install of its own.
	start := func(i int, name string) (int, error) {
		path := filepath.Join(folders[i%len(folders)], "rag-rat-"+strconv.Itoa(i))
		return syscall.ForkExec(idle, []string{name, "infinity", "mcp"}, &syscall.ProcAttr{Env: []string{upgradeVariable + "=" + path}})
	}
	switch role {
	case "crowd":
		n, err := strconv.Atoi(what)
		if err != nil {
			return err
		}
		for i := range n {
			if _, err := start(i, os.Args[0]); err != nil {
				return err
			}
		}
		fmt.Println("ready")
		return unix.Pause()
	case "storm":
		fmt.Println("ready")
		for i := 0; ; i++ {
			pid, err := start(i, what)
			if err != nil {
				return err
			}
			for range 20 { // the gate refuses them
				_ = unix.Kill(pid, unix.SIGUSR1)
			}
			_ = unix.Kill(pid, unix.SIGKILL)
			if _, err := unix.Wait4(pid, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	case "rename":
		content, err := os.ReadFile(what)
		fmt.Println("ready")
		for err == nil {
			if err = testfleet.WriteProgram(what+".new", content); err == nil {
				err = os.Rename(what+".new", what)
			}
		}
		return err
	}
	return fmt.Errorf("no role %s", role)
}
