// SPDX-License-Identifier: MIT

package engines_test

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a server that can be killed, stopped and started again.
type process struct {
	t    *testing.T
	path string
	args []string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// start runs a server until the test ends.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, path: path, args: args, log: &bytes.Buffer{}}
	p.run()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			log := p.log.Bytes()
			t.Logf("%s: ...%s", filepath.Base(path), log[max(0, len(log)-3000):])
		}
	})
	return p
}

func (p *process) run() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := make(chan error)
	starter() <- func() { err <- p.cmd.Start() }
	if err := <-err; err != nil {
		p.t.Fatal(err)
	}
}

// starter is a thread that starts all servers. They end with it, and threads that start test servers end.
var starter = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// kill ends the server with kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// given are the ports that tests were given: those that run at once must not share one.
var given sync.Map

// ports returns free ports of this host, none of them twice.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var free []int
	for len(free) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		if _, isGiven := given.LoadOrStore(port, true); !isGiven {
			free = append(free, port)
		}
	}
	return free
}

func local(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }

// eventually waits until what is true.
func eventually(t *testing.T, within time.Duration, what string, is func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, after %s: %v", what, within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
