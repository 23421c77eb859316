// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/chaos/witness"
)

// span is a time in which something held.
type span struct{ from, to uint64 }

// instance is one run of the program under test.
type instance struct {
	span
	pid int
	// stopped is when it could not run.
	stopped []span
}

// starter starts children that die with this program: the kernel ties them to the thread that started them
// (PR_SET_PDEATHSIG), so that is one which lives as long.
type starter struct{ work chan func() }

func newStarter() *starter {
	s := &starter{make(chan func())}
	go func() {
		runtime.LockOSThread()
		for work := range s.work {
			work()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	return <-started
}

// service starts, stops and restarts the program under test. One goroutine uses it at a time.
type service struct {
	program, dir string
	children     *starter
	cmd          *exec.Cmd
	instances    []*instance
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

// The sources that instances have. The small ones overflow: the one both its map and its ring, the other has
// room in the map, so that it is seen whether entries stay there.
var (
	small     = []string{"--source", "bpf", "--ring-bytes", "4096", "--max-entries", "64"}
	smallRing = []string{"--source", "bpf", "--ring-bytes", "4096"}
	sources   = [][]string{small, smallRing, {"--source", "bpf"}, {"--source", "proc"}}
)

// start starts an instance, and waits until it answers.
func (s *service) start(source []string) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(s.program, append([]string{
		"run", "--user", strconv.Itoa(fleetUser), "--run-dir", s.path("run"), "--state-dir", s.path("state"),
		"--settle", "100ms", "--hold", "500ms", "--retry-after", "5s", "--confirm-timeout", "5s",
		"--scan-every", "2s", "--audit-every", "10s",
	}, source...)...)
	s.cmd.Stderr = log
	i := &instance{span: span{from: witness.Now(), to: ^uint64(0)}}
	if err := s.children.start(s.cmd); err != nil {
		return err
	}
	i.pid = s.cmd.Process.Pid
	s.instances = append(s.instances, i)
	return s.awaitReady()
}

func (s *service) awaitReady() error {
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := s.get("/readyz"); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the service was not ready within a minute: %s", s.lastWords())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lastWords is the end of its log.
func (s *service) lastWords() string {
	text, _ := os.ReadFile(s.path("log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte("; ")))
}

func (s *service) current() *instance { return s.instances[len(s.instances)-1] }

// end ends the instance by a signal, and waits for that.
func (s *service) end(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	err := s.cmd.Wait()
	s.current().to = witness.Now()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 1 || sig == unix.SIGKILL) {
		return nil // 1 is for deaths, of which there are some
	}
	return err
}

// trouble stops it for a while or, so many times out of ten, ends it and starts it again, until ctx ends.
func (s *service) trouble(ctx context.Context, r *rand.Rand, restarts int) error {
	for pause(ctx, r, 500*time.Millisecond, 3*time.Second) {
		if r.IntN(10) >= restarts {
			i, from := s.current(), witness.Now()
			_ = s.cmd.Process.Signal(unix.SIGSTOP)
			pause(ctx, r, 0, time.Second)
			_ = s.cmd.Process.Signal(unix.SIGCONT)
			i.stopped = append(i.stopped, span{from, witness.Now()})
			continue
		}
		sig := unix.SIGKILL
		if r.IntN(2) == 0 {
			sig = unix.SIGTERM
		}
		if err := s.end(sig); err != nil {
			return fmt.Errorf("end the service: %w: %s", err, s.lastWords())
		}
		pause(ctx, r, 0, time.Second)
		if err := s.start(sources[r.IntN(len(sources))]); err != nil {
			return err
		}
	}
	return nil
}

// fillDisk leaves no room for the state for a while, again and again until ctx ends.
func (s *service) fillDisk(ctx context.Context, r *rand.Rand) error {
	path := s.path("state/ballast")
	for pause(ctx, r, time.Second, 4*time.Second) {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		block := make([]byte, 64<<10)
		for err == nil {
			_, err = f.Write(block)
		}
		_ = f.Close()
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		pause(ctx, r, 0, 2*time.Second)
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// get asks over the control socket, by the bytes of the protocol.
func (s *service) get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.path("run/control.sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://service"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return body.Bytes(), nil
}

// holdings is what an instance holds of what can leak, and among how many.
type holdings struct {
	Descriptors, Watches, Goroutines, Entries int
	// Named processes look like servers, and Outdated servers do not run what is installed, because they
	// never do what they are asked. For each of these, the service may hold something.
	Named, Outdated int
}

// more says what of it is more than before, but for what more processes account for. The map has an entry for
// each process that looks like a server, and for nobody else.
func (h holdings) more(before holdings) (leaks []string) {
	if h.Entries != h.Named {
		leaks = append(leaks, fmt.Sprintf("%d map entries for %d processes that look like servers", h.Entries, h.Named))
	}
	outdated := max(0, h.Outdated-before.Outdated)
	for _, of := range []struct {
		name           string
		now, then, may int
	}{
		{"descriptors", h.Descriptors, before.Descriptors, outdated},
		{"watches", h.Watches, before.Watches, 0},
		{"goroutines", h.Goroutines, before.Goroutines, outdated},
	} {
		if of.now > of.then+of.may {
			leaks = append(leaks, fmt.Sprintf("%d %s, and %d before", of.now, of.name, of.then))
		}
	}
	return leaks
}

// holds counts: descriptors and watches by what the kernel shows, goroutines and entries as it says itself.
func (s *service) holds() (h holdings, err error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", s.current().pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return h, err
	}
	h.Descriptors = len(fds)
	for _, fd := range fds {
		text, _ := os.ReadFile(filepath.Join(dir, fd.Name()))
		h.Watches += bytes.Count(text, []byte("inotify wd:"))
	}
	metrics, err := s.get("/metrics")
	if err != nil {
		return h, err
	}
	h.Goroutines = metric(metrics, "go_goroutines")
	h.Entries = metric(metrics, "ebpf_upgrader_map_entries")
	return h, nil
}

// metric is the value of one, or 0.
func metric(text []byte, name string) int {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, is := strings.CutPrefix(lines.Text(), name+" "); is {
			n, _ := strconv.ParseFloat(value, 64)
			return int(n)
		}
	}
	return 0
}

// sent finds the instance that sent something.
func (s *service) sent(sender int32, at uint64) *instance {
	n := slices.IndexFunc(s.instances, func(i *instance) bool {
		return int32(i.pid) == sender && i.from <= at && at <= i.to
	})
	if n < 0 {
		return nil
	}
	return s.instances[n]
}

func run(program string, args ...string) error { return exec.Command(program, args...).Run() }
