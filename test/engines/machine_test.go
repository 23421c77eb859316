// SPDX-License-Identifier: MIT

//go:build linux

package engines_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/stage"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// machine is one host of a site.
type machine struct {
	*testfleet.Install
	s       *site
	name    string
	args    []string
	service *process
	client  *control.Client
	servers []*testfleet.Server
}

// newMachine installs a file and starts a service, with more flags.
func newMachine(s *site, n int) *machine {
	s.t.Helper()
	name := fmt.Sprintf("host-%02d", n)
	dir := filepath.Join(s.dir, name)
	bin := filepath.Join(dir, "bin")
	for _, folder := range []string{dir, bin} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	i, err := testfleet.NewInstall(bin, s.ragRat)
	if err != nil {
		s.t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	m := &machine{Install: i, s: s, name: name, client: control.NewClient(socket)}
	m.args = []string{
		"run", "--config", "", "--install-path", i.Path(), "--stage", i.Path(), "--source", "bpf", "--settle", "20ms", "--hold", "200ms",
		"--run-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"), "--socket", socket,
		"--fleet", "etcd" + s.e.urls[0][len("http"):] + "/" + prefix, "--fleet-name", name, "--log-format", "text",
	}
	m.service = start(s.t, s.service, m.args...)
	return m
}

// answers waits until the service does.
func (m *machine) answers() {
	m.s.t.Helper()
	eventually(m.s.t, patience, m.name+" does not answer", func() error {
		_, err := m.client.Status(m.s.t.Context())
		return err
	})
}

// again starts the service again, with more flags.
func (m *machine) again(more ...string) {
	m.s.t.Helper()
	m.service = start(m.s.t, m.s.service, append(m.args, more...)...)
	m.answers()
}

// stop ends the service as systemd does.
func (m *machine) stop() {
	m.service.signal(syscall.SIGTERM)
	_ = m.service.cmd.Wait()
}

// serve starts servers.
func (m *machine) serve(n int, b testfleet.Behaviour) {
	m.s.t.Helper()
	ctx, cancel := context.WithTimeout(m.s.t.Context(), patience)
	defer cancel()
	path := m.Path()
	for range n {
		server, err := testfleet.Start(ctx, testfleet.Options{Binary: path, UpgradeBin: &path, Behaviour: b})
		if err != nil {
			m.s.t.Fatal(err)
		}
		m.servers = append(m.servers, server)
		m.s.t.Cleanup(func() { _ = server.Stop() })
	}
	for _, server := range m.servers {
		if err := server.AwaitArmed(ctx, 0); err != nil {
			m.s.t.Fatal(err)
		}
	}
	eventually(m.s.t, patience, m.name+" does not know its servers", func() error {
		servers, err := m.client.Servers(ctx)
		known := 0
		for _, server := range servers {
			if server.Decision.Verdict == selector.UpToDate {
				known++
			}
		}
		if known != len(m.servers) {
			return fmt.Errorf("it knows %d of %d, %v", known, len(m.servers), err)
		}
		return nil
	})
}

// upgraded waits until each server that lives runs what is installed.
func (m *machine) upgraded() {
	m.s.t.Helper()
	want, err := m.Image()
	if err != nil {
		m.s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.s.t.Context(), patience)
	defer cancel()
	for _, server := range m.servers {
		if isOver(server.Exited()) {
			continue
		}
		if _, err := server.Await(ctx, func(testfleet.Event) bool { return server.Image() == want }); err != nil {
			m.s.t.Errorf("%s: server %d runs %s, want %s: %v", m.name, server.PID(), server.Image(), want, err)
		}
	}
}

// stage stages a file by rename.
func (m *machine) stage(content []byte) {
	m.s.t.Helper()
	next := stage.NextPath(m.Path())
	// No process may be forked while the file is open: an exec of the file would fail.
	syscall.ForkLock.RLock()
	err := os.WriteFile(next+".part", content, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(next+".part", next)
	}
	if err != nil {
		m.s.t.Fatal(err)
	}
}

// staged is what the service says of its staged path.
func (m *machine) staged() api.Staged {
	m.s.t.Helper()
	status, err := m.client.Status(m.s.t.Context())
	if err != nil || len(status.Staged) != 1 {
		return api.Staged{Why: fmt.Sprint(err)}
	}
	return status.Staged[0]
}

// poke lets a host ask the fleet at once. One with a dead service does not.
func (m *machine) poke() { _, _ = m.client.Poke(m.s.t.Context()) }

func releaseOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// tells waits until the service gives one of these reasons for what it does with the staged file.
func (m *machine) tells(any ...string) {
	m.s.t.Helper()
	eventually(m.s.t, patience, fmt.Sprintf("%s does not tell %q", m.name, any), func() error {
		s := m.staged()
		for _, why := range any {
			if strings.Contains(s.Why, why) {
				return nil
			}
		}
		return fmt.Errorf("%s: %s", s.State, s.Why)
	})
}

// is waits until the staged path is in a state.
func (m *machine) is(state stage.State) {
	m.s.t.Helper()
	eventually(m.s.t, patience, fmt.Sprintf("%s is not %s", m.name, state), func() error {
		if s := m.staged(); s.State != string(state) {
			return fmt.Errorf("%s: %s", s.State, s.Why)
		}
		return nil
	})
}
