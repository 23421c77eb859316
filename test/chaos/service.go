// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

// span is a period.
type span struct{ from, to uint64 }

// instance is one run of the program under test.
type instance struct {
	span
	pid int
	// stopped are the periods in which it could not run.
	stopped []span
	// endedAt is when the run ended it, 0 if it did not, and endedBy the signal. endSeen: the witness recorded its
	// end.
	endedAt uint64
	endedBy syscall.Signal
	endSeen bool
	// ended is closed when the instance has ended.
	ended chan struct{}
	// traces: the instance has a kernel program.
	traces bool
}

// starter starts children that die with this program. The kernel ties a child to the thread that starts it
// (PR_SET_PDEATHSIG), so the starter has a thread that lives as long as the program.
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

func (s *starter) start(cmd *exec.Cmd) error { return s.startAs(cmd, nil) }

// startAs starts a child as a user; nil: that of this program.
func (s *starter) startAs(cmd *exec.Cmd, user *syscall.Credential) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Credential: user}
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	return <-started
}

// service starts, stops and restarts the program under test. It is not safe for concurrent use.
type service struct {
	program, dir string
	children     *starter
	tasks        tasks
	cmd          *exec.Cmd
	instances    []*instance
	broken       func(format string, args ...any)
	losses       losses
	log          slowLog
	// patience limits the end of an instance, which has nothing to wait for.
	patience time.Duration
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

// The sources of the instances. small overflows its map and its ring. smallRing has room in the map, which shows
// whether entries stay there. Hardly an audit repairs it, so that a loss which leads to no resync is seen.
var (
	small     = []string{"--source", "bpf", "--ring-bytes", "4096", "--max-entries", "64"}
	smallRing = []string{"--source", "bpf", "--ring-bytes", "4096", "--audit-every", "1h"}
	sources   = [][]string{small, smallRing, {"--source", "bpf"}, {"--source", "proc"}}
)

// retryAfter is the least time between two signals to a server that stays on its image.
const retryAfter = 5 * time.Second

// start starts an instance and waits until it is ready.
func (s *service) start(source []string) error {
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	stderr, copied, err := s.log.pipe(log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	defer func() { _ = stderr.Close() }()
	s.cmd = exec.Command(s.program, append([]string{
		"run", "--user", strconv.Itoa(fleetUser), "--user", strconv.Itoa(hostileUser), "--run-dir", s.path("run"), "--state-dir", s.path("state"),
		"--settle", "100ms", "--hold", "500ms", "--retry-after", retryAfter.String(), "--confirm-timeout", "5s",
		"--scan-every", "2s", "--audit-every", "10s", "--forget-after", "2s",
		"--log-level", "debug", // so that one user can flood the log
	}, source...)...)
	s.cmd.Stderr = stderr
	i := &instance{span: span{from: witness.Now()}, traces: slices.Contains(source, "bpf")}
	if err := s.children.start(s.cmd); err != nil {
		return err
	}
	i.pid = s.cmd.Process.Pid
	s.follow(i, copied)
	if err := s.tasks.add(i.pid); err != nil {
		return fmt.Errorf("limit the tasks of the service: %w", err)
	}
	return s.awaitReady()
}

// follow adds a started instance and waits for its end, and for that of its log. The witness records how it ended.
func (s *service) follow(i *instance, copied <-chan struct{}) {
	i.to, i.ended = ^uint64(0), make(chan struct{})
	s.instances = append(s.instances, i)
	cmd := s.cmd
	go func() {
		defer close(i.ended)
		_ = cmd.Wait()
		i.to = witness.Now()
		<-copied
	}()
}

func (s *service) awaitReady() error {
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := s.get("/readyz"); err == nil {
			return nil
		}
		if s.gone() {
			return fmt.Errorf("await the service: it has ended: %s", s.lastLines())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("await the service: not ready after a minute: %s", s.lastLines())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lastLines returns the end of the log.
func (s *service) lastLines() string {
	text, _ := os.ReadFile(s.path("log"))
	lines := bytes.Split(bytes.TrimSpace(text), []byte{'\n'})
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte("; ")))
}

func (s *service) current() *instance { return s.instances[len(s.instances)-1] }

// gone reports whether the instance has ended by itself.
func (s *service) gone() bool {
	if len(s.instances) == 0 {
		return false
	}
	i := s.current()
	select {
	case <-i.ended:
		return i.endedAt == 0
	default:
		return false
	}
}

// end ends the instance with a signal. An instance that does not end in time gets SIGQUIT, at which it prints its
// stacks.
func (s *service) end(sig syscall.Signal) {
	if len(s.instances) == 0 {
		return // it was never started
	}
	i := s.current()
	if !s.gone() {
		s.count(i)
	}
	i.endedAt = witness.Now()
	for _, i.endedBy = range []syscall.Signal{sig, unix.SIGQUIT, unix.SIGKILL} {
		_ = s.cmd.Process.Signal(i.endedBy)
		select {
		case <-i.ended:
			return
		case <-time.After(s.patience):
			s.broken("the service did not end within %s of %s", s.patience, unix.SignalName(i.endedBy))
		}
	}
}

// trouble stops the instance for a while or, in so many cases of ten, ends it and starts it again, until ctx ends.
func (s *service) trouble(ctx context.Context, r *rand.Rand, restarts int) error {
	for pause(ctx, r, 500*time.Millisecond, 3*time.Second) {
		if r.IntN(10) >= restarts {
			i, from := s.current(), witness.Now()
			_ = s.cmd.Process.Signal(unix.SIGSTOP)
			if r.IntN(4) > 0 {
				pause(ctx, r, 0, time.Second)
			} else { // so that the ring overflows
				pause(ctx, r, 3*time.Second, 5*time.Second)
			}
			_ = s.cmd.Process.Signal(unix.SIGCONT)
			i.stopped = append(i.stopped, span{from, witness.Now()})
			continue
		}
		sig := unix.SIGKILL
		if r.IntN(2) == 0 {
			sig = unix.SIGTERM
		}
		s.end(sig)
		pause(ctx, r, 0, time.Second)
		if err := s.start(sources[r.IntN(len(sources))]); err != nil {
			return err
		}
	}
	return nil
}

// fillDisk fills the file system of the journal for a while, again and again until ctx ends.
func (s *service) fillDisk(ctx context.Context, r *rand.Rand) error {
	path := s.path("run/ballast")
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

func run(program string, args ...string) error { return exec.Command(program, args...).Run() }
