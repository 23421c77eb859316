// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// TestWhoWasAskedByAServiceThatCouldNotKeepItIsNotAskedByTheNext: the disk of the state is full, and the service is
// killed while a server waits for its running calls. A second signal could reach it in the middle of its exec.
func TestWhoWasAskedByAServiceThatCouldNotKeepItIsNotAskedByTheNext(t *testing.T) {
	needRoot(t)
	for name, before := range map[string]func(s *scene, p *service, source string){
		"nothing was ever kept": func(*scene, *service, string) {},
		"an earlier one kept something": func(s *scene, p *service, source string) {
			first := p.again(s.t, s.Path(), source)
			s.replace()
			s.upgraded(s.start(nil))
			first.stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				s, p := newScene(t), newService(t)
				old := filepath.Join(s.Dir(), "old")
				must(t, os.Link(s.Path(), old))
				must(t, os.Mkdir(p.stateDir, 0o700))
				must(t, unix.Mount("test", p.stateDir, "tmpfs", 0, "size=64k"))
				t.Cleanup(func() { must(t, unix.Unmount(p.stateDir, unix.MNT_DETACH)) })
				before(s, p, source)
				server := s.start(func(o *testfleet.Options) { o.Behaviour.Drain = testfleet.Duration(5 * time.Second) })
				fill(t, p.stateDir)

				killed := &service{socket: p.socket, stateDir: p.stateDir}
				killed.start(t, thisBinary(t), killed.args(s.Path(), source))
				s.replace()
				eventually(t, "the server was asked", func() bool { return server.Signals() == 1 })
				killed.kill()
				s.replace()
				next := p.again(t, s.Path(), source)
				eventually(t, "the next service knows of it", func() bool {
					servers, err := next.client(t).Servers(within(t))
					return err == nil && slices.ContainsFunc(servers, func(known controller.ServerStatus) bool {
						return known.PID == server.PID() && known.Verdict == selector.Outdated
					})
				})
				if s := statusTable(t, next.socket); !strings.Contains(s, "ran before this one wait for ") {
					t.Errorf("the status does not say why it is not asked:\n%s", s)
				}
				known := time.Now()
				eventually(t, "the clock of process starts, of 10 ms, has gone on", func() bool { return time.Since(known) > 20*time.Millisecond })
				later := s.start(func(o *testfleet.Options) { o.Binary = old })
				s.upgraded(later)
				s.upgraded(server)
				for _, one := range []*testfleet.Server{server, later} {
					if n := one.Signals(); n != 1 {
						t.Errorf("server %d got %d signals, want 1", one.PID(), n)
					}
				}
			})
		})
	}
}

func statusTable(t *testing.T, socket string) string {
	t.Helper()
	code, stdout, stderr := command(t, "status", "--socket", socket)
	if code != exitOK {
		t.Fatalf("status: exit code %d: %s", code, stderr)
	}
	return stdout
}

// fill leaves no room on the file system of dir.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, f.Close())
}
