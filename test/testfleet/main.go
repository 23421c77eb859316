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
	// behaviourVariable marks a process as one of our servers.
	behaviourVariable = "TESTFLEET"
	// upgradeVariable names the file that a server execs.
	upgradeVariable = "RAG_RAT_UPGRADE_BIN"
	// subcommand is the argument that makes a server one.
	subcommand = "mcp"
)

// exitExecFailed is the exit code that the real servers have when their exec failed.
const exitExecFailed = 70

// exitBroken is for a server that could not be what it was asked to be.
const exitBroken = 64

// mostMemory is when garbage is collected after all.
const mostMemory = 32 << 20

// init keeps the main goroutine on the main thread, for servers whose main thread execs or exits and for what
// [StartHeld] waits for: by the time of Main it may be on another.
func init() {
	for _, name := range []string{behaviourVariable, holdVariable, peekVariable} {
		if os.Getenv(name) != "" {
			runtime.LockOSThread()
		}
	}
}

// Main serves and does not return when this process was started as a server by [Start], and returns
// at once when it was not. It belongs at the very start of main or TestMain.
func Main() {
	hold()
	text, ours := os.LookupEnv(behaviourVariable)
	if !ours || !slices.Contains(os.Args[1:], subcommand) {
		return
	}
	if err := disarm(unix.SIGUSR1); err != nil {
		unix.Exit(exitBroken)
	}
	// A thousand of us run at once: nothing here makes garbage, and two threads at work are plenty.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(mostMemory) // a session that calls without pause does make some
	runtime.GOMAXPROCS(2)
	newServing(text).run()
}

// serving is a server, seen from inside.
type serving struct {
	state
	behaviour Behaviour
	// target is what will be exec'd: the value of the variable at the start.
	target string
	// session is nil where stdin is left alone.
	session *session
	// calls are the signals that arrived in this generation.
	calls int

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

// run is the life of this image. It is called on the main thread.
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

// serve waits for signals on a thread of its own, which forks and execs, too: a child is tied to
// the thread that made it (PR_SET_PDEATHSIG), and of all threads only this one goes on after exec.
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
		s.called()
		if needed > 0 && s.calls >= needed {
			s.upgrade(arrived)
		}
	}
}

// getStuck reads from a thread of its own. The file may be one that no read of ends.
func (s *serving) getStuck(file string) {
	runtime.LockOSThread()
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		s.exit(exitBroken, err.Error())
	}
	_, _ = unix.Read(fd, make([]byte, 1))
}

// keepBusy reads a file as long as it is there.
func keepBusy(file string) {
	const pause = 20 * time.Millisecond
	for {
		if _, err := os.ReadFile(file); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// arm waits for the time to arm, and installs the handler; nil is that there will be none.
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

// upgrade hands the session over to what is installed now, unless a call runs for too long: then it goes
// on as if nothing had happened.
func (s *serving) upgrade(arrived <-chan os.Signal) {
	limit := cmp.Or(time.Duration(s.behaviour.DrainLimit), defaultDrainLimit)
	if s.session != nil && !s.session.stop(limit) {
		s.session.start()
		s.report(Event{Kind: Stayed})
		return
	}
	s.drain(arrived)
	if s.session != nil {
		s.Session = s.session.state()
	}
	s.exec()
}

// called counts a signal.
func (s *serving) called() {
	s.calls++
	s.report(Event{Kind: Signalled, Signals: s.calls})
}

// drain lets the time for running calls pass. Signals that arrive in it do nothing.
func (s *serving) drain(arrived <-chan os.Signal) {
	if s.behaviour.Drain == 0 {
		return
	}
	s.report(Event{Kind: Draining})
	over := time.After(time.Duration(s.behaviour.Drain))
	for {
		select {
		case <-arrived:
			s.called()
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

// followLifeline ends the server when nobody reads its reports. It is a raw wait in the kernel, so
// that it costs no wake-up, and the runtime never believes that all goroutines wait for each other.
func (s *serving) followLifeline() {
	line := []unix.PollFd{{Fd: reportFD}} // no event asked for: POLLERR comes unasked
	for {
		if n, err := unix.Poll(line, -1); n > 0 || err != nil && err != unix.EINTR {
			unix.Exit(0)
		}
	}
}

// endAfter ends the server at its time.
func (s *serving) endAfter(e End) {
	end := func() {
		if e.Crash {
			s.crash()
		}
		s.exit(e.Code, "its time has come")
	}
	if e.After == 0 {
		end()
	}
	time.AfterFunc(time.Duration(e.After), end)
}

// crash dies as a program with a wild pointer does, without a core file.
func (s *serving) crash() {
	s.report(Event{Kind: Exiting, Why: "crash"})
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = disarm(unix.SIGSEGV)
	_ = unix.Kill(os.Getpid(), unix.SIGSEGV)
	select {}
}

// exit says why, and ends the process.
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
