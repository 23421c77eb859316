// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builtServer has the path of the server binary, for the processes of this test binary that run one test in namespaces.
const builtServer = "EBPF_UPGRADER_TEST_SERVER"

// serverBinary is a server without anything else. It starts in 2 ms of processor time, this test binary in 8 and with the race
// detector in 28. Where there is no Go, as in an emulated machine, the servers are this test binary.
var serverBinary = sync.OnceValue(func() (path string) {
	if path = os.Getenv(builtServer); path != "" {
		return path
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return self
	}
	dir, err := os.MkdirTemp("", "ebpf-upgrader-server-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // for every user
	}
	path = filepath.Join(dir, "rag-rat")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../../test/testfleet/ragrat")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err == nil {
		err = cmd.Run()
	}
	if err == nil {
		err = os.Setenv(builtServer, path)
	}
	if err != nil {
		panic(err)
	}
	builtHere = dir
	return path
})

// builtHere is the directory that this process removes at its end.
var builtHere string

// newProgram is a copy of this test binary that every user may run.
func newProgram(t *testing.T) (path string) {
	t.Helper()
	s := newScene(t)
	must(t, s.Replace(thisBinary(t)))
	return s.Path()
}

// newProgramOf is a copy of this test binary that only a user may run.
func (h *wholeHost) newProgramOf(uid uint32) (path string) {
	h.t.Helper()
	s := h.home(uid)
	must(h.t, s.Replace(thisBinary(h.t)))
	return s.Path()
}
