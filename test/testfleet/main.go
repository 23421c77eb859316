// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// behaviourVariable marks a process as a server of this package.
	behaviourVariable = "TESTFLEET"
	// upgradeVariable has the path that a server execs.
	upgradeVariable = "RAG_RAT_UPGRADE_BIN"
	// subcommand is the argument of a server.
	subcommand = "mcp"
)

// exitExecFailed is the exit code of the real servers after a failed exec.
const exitExecFailed = 70

// exitBroken is the exit code of a server that cannot have its [Behaviour].
const exitBroken = 64

// mostMemory is the memory limit in bytes, above which garbage is collected.
const mostMemory = 32 << 20

// init locks the main goroutine to the main thread. A server may have to exec or exit on that thread, and [StartHeld]
// waits for a system call of it. When Main runs, the goroutine may already be on another thread.
func init() {
	for _, name := range []string{behaviourVariable, holdVariable, peekVariable} {
		if os.Getenv(name) != "" {
			runtime.LockOSThread()
		}
	}
}

// Main serves and does not return if [Start] started this process as a server. Otherwise it returns at once. It must be
// called first in main or TestMain.
func Main() {
	hold()
	text, ours := os.LookupEnv(behaviourVariable)
	if !ours {
		answerPreflight()
	}
	if !ours || !slices.Contains(os.Args[1:], subcommand) {
		return
	}
	if err := disarm(unix.SIGUSR1); err != nil {
		unix.Exit(exitBroken)
	}
	// A thousand servers run at once. They make little garbage, and need two running threads at most.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(mostMemory) // a session that calls without a pause makes garbage
	runtime.GOMAXPROCS(2)
	newServing(text).run()
}

// serving is the server side of a server.
type serving struct {
	state
	behaviour Behaviour
	// target is the path to exec: the value of the variable at the start.
	target string
	// session is nil if stdin is not read.
	session *session
	// signals counts the signals of this generation.
	signals int

	mu sync.Mutex // held while an event is written
}

func newServing(text string) *serving {
	s := &serving{target: os.Getenv(upgradeVariable)}
	b, err := parseBehaviour(text)
	if err == nil {
		s.state, err = readState()
	}
	if err != nil {
		s.exit(exitBroken, err.Error())
	}
	s.behaviour = b.at(s.Generation)
	return s
}

// run runs the server. It is called on the main thread.
func (s *serving) run() {
	s.reportStart()
	b := s.behaviour
	if b.WatchDir != "" {
		s.watch(b.WatchDir)
	}
	if b.End != nil {
		s.endAfter(*b.End)
	}
	if b.Daemonise && s.Generation == 0 {
		s.daemonise()
	}
	if b.Stuck != "" && s.Generation == 0 {
		go s.getStuck(b.Stuck)
	}
	if b.Busy != "" && s.Generation == 0 {
		go keepBusy(b.Busy)
	}
	if !b.OutliveStdin && !s.Daemon {
		s.session = newSession(s, func() { s.exit(0, "stdin ended") })
		s.session.start()
	}
	switch {
	case b.LeaderExits:
		go s.followLifeline()
		go s.serve()
		_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) // this thread only
	case b.ExecFromMain:
		go s.followLifeline()
		s.serve()
	default:
		go s.serve()
		s.followLifeline()
	}
}

// serve waits for signals on a thread of its own, which also forks and execs. A child depends on the thread that forked
// it (PR_SET_PDEATHSIG), and only the thread that execs survives the exec.
func (s *serving) serve() {
	runtime.LockOSThread()
	arrived := s.arm()
	if s.behaviour.ForkChild {
		s.adoptChild()
	}
	if arrived == nil {
		s.report(Event{Kind: Unarmed})
		select {} // the other threads end the process
	}
	s.report(Event{Kind: Armed})
	needed := s.behaviour.signalsNeeded()
	for range arrived {
		s.countSignal()
		if needed > 0 && s.signals >= needed {
			s.upgrade(arrived)
		}
	}
}

// getStuck reads the file on a thread of its own. The read may never end.
func (s *serving) getStuck(file string) {
	runtime.LockOSThread()
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		s.exit(exitBroken, err.Error())
	}
	_, _ = unix.Read(fd, make([]byte, 1))
}

// keepBusy reads a file until it is removed.
func keepBusy(file string) {
	const pause = 20 * time.Millisecond
	for {
		if _, err := os.ReadFile(file); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// arm waits for ArmDelay and installs the handler. It returns nil if the server never arms itself.
func (s *serving) arm() <-chan os.Signal {
	if s.target == "" || s.behaviour.NeverArm {
		return nil
	}
	time.Sleep(time.Duration(s.behaviour.ArmDelay))
	arrived, err := arm()
	if err != nil {
		s.exit(exitBroken, err.Error())
	}
	return arrived
}

// upgrade hands the session over to the installed file. If a call runs for too long, the server keeps serving instead.
func (s *serving) upgrade(arrived <-chan os.Signal) {
	limit := cmp.Or(time.Duration(s.behaviour.DrainLimit), defaultDrainLimit)
	if s.session != nil && !s.session.stop(limit) {
		s.session.start()
		s.report(Event{Kind: Aborted})
		return
	}
	s.drain(arrived)
	if s.session != nil {
		s.Session = s.session.state()
	}
	s.exec()
}

// countSignal counts and reports a signal.
func (s *serving) countSignal() {
	s.signals++
	s.report(Event{Kind: Signalled, Signals: s.signals})
}

// drain waits for the drain time. Signals have no effect meanwhile.
func (s *serving) drain(arrived <-chan os.Signal) {
	if s.behaviour.Drain == 0 {
		return
	}
	s.report(Event{Kind: Draining})
	over := time.After(time.Duration(s.behaviour.Drain))
	for {
		select {
		case <-arrived:
			s.countSignal()
		case <-over:
			return
		}
	}
}

// exec replaces the image, or ends the process.
func (s *serving) exec() {
	path := cmp.Or(s.behaviour.Execs, s.target)
	s.report(Event{Kind: Exec, Path: path, Thread: unix.Gettid()})
	err := syscall.Exec(path, os.Args, s.next().environ())
	s.report(Event{Kind: ExecFailed, Path: path, Why: err.Error()})
	unix.Exit(exitExecFailed)
}

// followLifeline ends the server when the other end of its reports is closed. It waits in a raw system call, which
// needs no wake-up, and keeps the runtime from reporting a deadlock.
func (s *serving) followLifeline() {
	line := []unix.PollFd{{Fd: reportFD}} // POLLERR is always reported
	for {
		if n, err := unix.Poll(line, -1); n > 0 || err != nil && err != unix.EINTR {
			unix.Exit(0)
		}
	}
}

// endAfter ends the server when its time has come.
func (s *serving) endAfter(e End) {
	end := func() {
		if e.Signal != 0 {
			s.crash(e.Signal)
		}
		s.exit(e.Code, "its time has come")
	}
	switch {
	case e.When != "":
		go func() { keepBusy(e.When); end() }()
	case e.After == 0:
		end()
	default:
		time.AfterFunc(time.Duration(e.After), end)
	}
}

// crash ends the process by a signal, without a core file.
func (s *serving) crash(by syscall.Signal) {
	s.report(Event{Kind: Exiting, Why: "crash"})
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = disarm(by)
	_ = unix.Kill(os.Getpid(), by)
	select {}
}

// exit reports the reason, and ends the process.
func (s *serving) exit(code int, why string) {
	s.report(Event{Kind: Exiting, Why: why})
	unix.Exit(code)
}

// watch holds an inotify watch until the process execs.
func (s *serving) watch(dir string) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO)
	}
	if err != nil {
		s.exit(exitBroken, err.Error())
	}
}
