// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// unit is the service as a process of its own, under the limits of the unit in packaging/systemd.
type unit struct {
	cmd    *exec.Cmd
	memory cgroup
	groups []cgroup
	// longestSilence is the longest time between two keep-alives of the watchdog, in nanoseconds.
	longestSilence atomic.Int64
	watchdog       time.Duration
}

const unitFile = "../../packaging/systemd/ebpf-upgrader.service"

// Variables make the test binary enter cgroups, give up capabilities and exec the service.
const (
	asUnit       = "EBPF_UPGRADER_TEST_AS_UNIT"
	unitCgroups  = "EBPF_UPGRADER_TEST_CGROUPS"
	unitBounding = "EBPF_UPGRADER_TEST_BOUNDING"
)

func init() {
	if program := os.Getenv(asUnit); program != "" {
		fmt.Fprintln(os.Stderr, becomeUnit(program))
		os.Exit(1)
	}
}

func becomeUnit(program string) error {
	runtime.LockOSThread()
	for dir := range strings.SplitSeq(os.Getenv(unitCgroups), ":") {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
	}
	for c := cap.Value(0); c < cap.MaxBits(); c++ {
		if strings.Contains(" "+os.Getenv(unitBounding)+" ", " "+strings.ToUpper(c.String())+" ") {
			continue
		}
		if err := cap.DropBound(c); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
}

// settings are those of the unit, by name.
func settings(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(unitFile)
	must(t, err)
	all := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^([A-Z][A-Za-z]+)=(.*)$`).FindAllStringSubmatch(string(content), -1) {
		all[m[1]] = m[2]
	}
	return all
}

// cgroup is a control group that the test has made, for memory or for processor time, of either version.
type cgroup struct{ dir, limit, peak, events string }

// newCgroup makes one until the test ends.
func newCgroup(t *testing.T, controller string) cgroup {
	t.Helper()
	name := fmt.Sprintf("ebpf-upgrader-test-%d-%d", os.Getpid(), hosts.Add(1))
	c := cgroup{filepath.Join("/sys/fs/cgroup", controller, name), "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		c = cgroup{filepath.Join("/sys/fs/cgroup", name), "memory.max", "memory.peak", "memory.events"}
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory +cpu"), 0)
	}
	must(t, os.Mkdir(c.dir, 0o755))
	t.Cleanup(func() {
		eventually(t, c.dir+" is removed", func() bool { return !errors.Is(os.Remove(c.dir), unix.EBUSY) })
	})
	return c
}

// add moves a process into the group.
func (c cgroup) add(t *testing.T, pid int) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(c.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0))
}

// bytes is the number in a file of the group, and of a line with a name: its number.
func (c cgroup) number(t *testing.T, file, name string) uint64 {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(c.dir, file))
	must(t, err)
	text := string(content)
	if name != "" {
		_, text, _ = strings.Cut(text, name+" ")
	}
	n, err := strconv.ParseUint(strings.Fields(text + " 0")[0], 10, 64)
	must(t, err)
	return n
}

// startUnit starts the service of a host under the limits of the unit, and follows its watchdog.
func (h *wholeHost) startUnit(program string, args []string) *unit {
	h.t.Helper()
	set := settings(h.t)
	limit, err := strconv.Atoi(strings.TrimSuffix(set["MemoryMax"], "M"))
	must(h.t, err)
	seconds, err := strconv.Atoi(set["WatchdogSec"])
	must(h.t, err)
	u := &unit{memory: newCgroup(h.t, "memory"), watchdog: time.Duration(seconds) * time.Second}
	must(h.t, os.WriteFile(filepath.Join(u.memory.dir, u.memory.limit), []byte(strconv.Itoa(limit<<20)), 0))
	// The slice of the services has as much processor time as that of all users. Here the processes of the test are many.
	processor := u.memory
	if processor.limit != "memory.max" { // version 1 has a hierarchy for each
		processor = newCgroup(h.t, "cpu")
	}
	for file, share := range map[string]string{"cpu.shares": "20480", "cpu.weight": "2000"} {
		_ = os.WriteFile(filepath.Join(processor.dir, file), []byte(share), 0) // each version has one of them
	}
	u.groups = []cgroup{u.memory, processor}
	address := filepath.Join(filepath.Dir(h.socket), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	must(h.t, err)
	u.cmd = exec.Command(thisBinary(h.t), args...)
	u.cmd.Env = append(
		os.Environ(), asUnit+"="+program, unitCgroups+"="+u.memory.dir+":"+processor.dir, unitBounding+"="+set["CapabilityBoundingSet"],
		"NOTIFY_SOCKET="+address, "WATCHDOG_USEC="+strconv.Itoa(seconds*1e6),
	)
	messages := &syncBuffer{}
	u.cmd.Stderr = messages
	must(h.t, u.cmd.Start())
	h.t.Cleanup(func() {
		_ = u.cmd.Process.Signal(syscall.SIGTERM)
		_ = u.cmd.Wait()
		_ = socket.Close()
		if text := messages.String(); h.t.Failed() {
			h.t.Logf("the service wrote %d bytes, at last:\n%s", len(text), text[max(0, len(text)-4000):])
		}
	})
	go u.follow(socket)
	return u
}

// follow measures the silences of the watchdog.
func (u *unit) follow(socket *net.UnixConn) {
	message := make([]byte, 4<<10)
	for last := time.Now(); ; {
		n, err := socket.Read(message)
		if err != nil {
			return
		}
		if strings.Contains(string(message[:n]), "WATCHDOG=1") {
			u.longestSilence.Store(max(u.longestSilence.Load(), int64(time.Since(last))))
			last = time.Now()
		}
	}
}

// isUnharmed checks that the service lives, was never near its watchdog, and what memory it took at most.
func (u *unit) isUnharmed(t *testing.T, atMost uint64) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", u.cmd.Process.Pid))
	if err != nil || strings.Contains(string(stat), ") Z ") {
		t.Fatalf("the service has ended: %s, %v", stat, err)
	}
	eventually(t, "the watchdog hears from the service", func() bool { return u.longestSilence.Load() > 0 })
	if silence := time.Duration(u.longestSilence.Load()); silence >= u.watchdog {
		t.Errorf("the watchdog heard nothing for %s, and ends the service after %s", silence, u.watchdog)
	}
	peak := u.memory.number(t, u.memory.peak, "")
	t.Logf("the service took %d MiB at most; the watchdog heard nothing for %s at most", peak>>20, time.Duration(u.longestSilence.Load()))
	if peak > atMost {
		t.Errorf("the service took %d MiB, want %d at most", peak>>20, atMost>>20)
	}
	if kills := u.memory.number(t, u.memory.events, "oom_kill"); kills != 0 {
		t.Errorf("the kernel killed %d processes for their memory", kills)
	}
}
