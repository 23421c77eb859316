// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// docs/THREATS.md names the tests with this scene: a hostile user tries everything, and the servers of another user are
// upgraded all the same.

const (
	hostile = 6666
	victim  = 6001
)

// asHostile makes the test binary a process that lies.
const asHostile = "EBPF_UPGRADER_TEST_AS_HOSTILE"

func init() {
	if role := os.Getenv(asHostile); role != "" {
		runtime.LockOSThread() // the main thread: its namespaces are those that /proc shows
		beHostile(role)
	}
}

// beHostile ends with its input.
func beHostile(role string) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	args := arguments()
	if role == "endless" {
		if err := testfleet.EndlessEnvironment(); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("ready")
	own, other := os.Getenv(upgradeVariable), os.Getenv("OTHER")
	for turn := 0; ; turn++ {
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) // or else it would measure the host, not the service
		switch role {
		case "liar": // of the same length, so that the memory holds either
			copy(args[len(args)-len(own)-1:], [2]string{own, other}[turn%2])
			args[0] ^= 'x'
		case "wanderer":
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				fmt.Println(err)
			}
		}
	}
}

// arguments is the memory of this process that /proc shows as its command line and, behind it, its
// environment, of which there must be only the variable that names the install at the end.
func arguments() []byte {
	n := 0
	for _, text := range append(append([]string{}, os.Args...), os.Environ()...) {
		n += len(text) + 1
	}
	return unsafe.Slice(unsafe.StringData(os.Args[0]), n) // where the kernel put it, and Go left it
}

const upgradeVariable = "RAG_RAT_UPGRADE_BIN"

// siege is a host on which the servers of one user are upgraded, and a hostile user tries to prevent it.
type siege struct {
	*wholeHost
	his     *scene
	servers []*testfleet.Server
	// untouched are processes that must get no signal.
	untouched []*testfleet.Server
}

// underSiege has attack set the hostile user's things up while the service runs. It proves that the victim is
// upgraded as ever, and that the service answers all the time.
func underSiege(t *testing.T, attack func(t *testing.T, s *siege)) {
	t.Helper()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		besiege(t, source, attack)
	})
}

func besiege(t *testing.T, source string, attack func(t *testing.T, s *siege)) *siege {
	t.Helper()
	takesLong(t)
	s := &siege{wholeHost: newWholeHost(t)}
	s.his = s.home(victim)
	s.servers = s.start(s.his, victim, 3)
	s.serve(source)
	eventually(t, "the victim's install is ready", s.isReady)
	answers := s.keepQuerying()
	attack(t, s)
	s.his.replace()
	s.his.allUpgraded(s.servers)
	askedOnce(t, s.servers)
	allUnharmed(t, s.untouched)
	answers()
	return s
}

func (s *siege) isReady() bool {
	for _, i := range s.status().Installs {
		if i.UID == victim && i.State == selector.StateReady && i.Servers == len(s.servers) {
			return true
		}
	}
	return false
}

const (
	// heartbeat is the period of the goroutine that measures how long this machine runs no process. diskbeat is the same for
	// the disk: the service writes a journal before each signal, and a rename waits for the journal of the file system.
	heartbeat = time.Millisecond
	diskbeat  = 100 * time.Millisecond
	// stillness is the time between two queries, so that they do not keep the service from its work.
	stillness = 5 * time.Millisecond
)

// keepQuerying queries the status of the service until check is called. check fails the test if an answer took longer than
// allowedStop, and twice as long as this machine stood still: two cores with a thousand processes of the tests run none of
// them at once.
func (s *siege) keepQuerying() (check func()) {
	client := s.client(s.t)
	ctx, cancel := context.WithCancel(s.t.Context())
	answer, stall, disk := make(chan time.Duration, 1), make(chan time.Duration, 1), make(chan time.Duration, 1)
	path := filepath.Join(filepath.Dir(s.socket), "disk")
	go func() {
		answer <- slowest(ctx, stillness, func() {
			if _, err := client.Status(ctx); err != nil && ctx.Err() == nil {
				s.t.Errorf("the service does not answer: %v", err)
			}
		})
	}()
	go func() {
		stall <- slowest(ctx, 0, func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: int64(heartbeat)}, nil) })
	}()
	go func() { disk <- slowest(ctx, diskbeat, func() { writeThrough(s.t, path) }) }()
	return func() {
		s.t.Helper()
		cancel()
		took, stood := <-answer, max(<-stall, <-disk)
		s.t.Logf("the longest wait for an answer was %s, while the machine stood still for %s", took, stood)
		if took > allowedStop(s.t)+2*stood {
			s.t.Errorf("the service did not answer for %s, while the machine stood still for %s", took, stood)
		}
	}
}

// allowedStop is longestStop, and longer where more than twice as many want to run as there are cores for: the
// service gets its share of them, which no single pause shows.
func allowedStop(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	must(t, err)
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatalf("loadavg %q: %v", text, err)
	}
	overrun := max(1, load/(2*float64(runtime.NumCPU())))
	return time.Duration(float64(longestStop) * overrun)
}

// writeThrough waits for the disk.
func writeThrough(t *testing.T, path string) {
	f, err := os.Create(path)
	if err == nil {
		_, err = f.WriteString("x")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Errorf("write %s: %v", path, err)
	}
}

// slowest does something again and again until ctx ends, and says how long it took at most.
func slowest(ctx context.Context, pause time.Duration, do func()) (most time.Duration) {
	for ctx.Err() == nil {
		begin := time.Now()
		do()
		most = max(most, time.Since(begin))
		_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(pause)}, nil)
	}
	return most
}

// hostileServer is an armed server of the hostile user. A newer binary is installed, and the server names another path.
func (s *siege) hostileServer(path string) *testfleet.Server {
	s.t.Helper()
	server := s.home(hostile).start(func(o *testfleet.Options) {
		o.Argv0, o.UpgradeBin, o.Credential = s.name, &path, &testfleet.Credential{UID: hostile, GID: hostile}
	})
	s.untouched = append(s.untouched, server)
	return server
}

// folder is one of the hostile user.
func (s *siege) folder() string {
	s.t.Helper()
	return s.home(hostile).Dir()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// liar starts an armed process of the hostile user. role says what it does.
func (s *siege) liar(role, own, other string, clone uintptr) {
	s.t.Helper()
	cmd := exec.Command(s.newProgramOf(hostile))
	cmd.Args = []string{"xx/" + s.name, "mcp"}
	cmd.Env = []string{asHostile + "=" + role, "OTHER=" + other, upgradeVariable + "=" + own}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hostile, Gid: hostile}, Cloneflags: clone}
	if clone&unix.CLONE_NEWUSER != 0 {
		ids := []syscall.SysProcIDMap{{ContainerID: hostile, HostID: hostile, Size: 1}}
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	stdin, err := cmd.StdinPipe()
	must(s.t, err)
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			s.t.Errorf("the %s has ended: %s, %v", role, stat, err)
		}
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(s.t, "it is up", func() bool { return strings.HasPrefix(out.String(), "ready\n") })
}
