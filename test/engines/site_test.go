// SPDX-License-Identifier: MIT

//go:build linux

package engines_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

const (
	// patience is how long a scene waits for what must happen. One that passes does not wait for it.
	patience = 4 * time.Minute
	// serversEach is how many servers a host has.
	serversEach = 3
)

// serviceCount is how many services the large scenes have: SERVICES of make test-engines. Zero: the scenes are left out.
var serviceCount, _ = strconv.Atoi(os.Getenv("EBPF_UPGRADER_TEST_SERVICES"))

// programs are the programs of a scene, built once: the service, and a server.
var programs = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "ebpf-upgrader-engines-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/ebpf-upgrader", "./test/testfleet/ragrat")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// site is a fleet on this machine: each of its hosts is a service, with a path, folders and servers of its own. All of them
// share the record in one etcd.
type site struct {
	t                    *testing.T
	e                    *engine
	dir, service, ragRat string
	hosts                []*machine
	releases             int
}

// newSite starts services, none of which has servers yet.
func newSite(t *testing.T, hosts int, policy string) *site {
	t.Helper()
	need(t, "etcd")
	if serviceCount == 0 {
		t.Skip("SERVICES=30 runs the scenes, as root")
	}
	if os.Geteuid() != 0 {
		t.Fatal("only root stages files")
	}
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, service: filepath.Join(built, "ebpf-upgrader"), ragRat: filepath.Join(built, "ragrat"), e: startEtcd(t, "etcd-3.7.3", 1)}
	// Not t.TempDir: the check of a staged file runs as another user, and the path of a socket must be short.
	if s.dir, err = os.MkdirTemp("", "site-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.e.with(t, policy, "{}")
	for n := range hosts {
		s.hosts = append(s.hosts, newMachine(s, n))
	}
	for _, m := range s.hosts {
		m.answers()
	}
	return s
}

// content is a working server with a content of its own.
func (s *site) content() []byte {
	s.t.Helper()
	text, err := os.ReadFile(s.ragRat)
	if err != nil {
		s.t.Fatal(err)
	}
	s.releases++
	return fmt.Append(text, "release ", s.releases) // the kernel ignores what follows a program
}

// badContent passes the check of a staged file, and ends every server.
const badContent = `#!/bin/sh
[ -n "$RAG_RAT_NO_WATCH" ] || exit 1
case $1 in
--version) echo rag-rat 0.0.0 ;;
mcp) read -r request && echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26"}}' ;;
esac
`

// stage stages a file on some hosts, and returns its release.
func (s *site) stage(content []byte, hosts ...*machine) string {
	s.t.Helper()
	for _, m := range hosts {
		m.stage(content)
	}
	return releaseOf(content)
}

// record is what the hosts share now.
func (s *site) record() (fleet.Policy, fleet.State) {
	s.t.Helper()
	d := load(s.t, s.e.store())
	p, err := fleet.ParsePolicy(d.Policy)
	if err != nil {
		s.t.Fatal(err)
	}
	state, err := fleet.ParseState(d.State)
	if err != nil {
		s.t.Fatal(err)
	}
	return p, state
}

// release is the record of a release; the zero Release where no host has entered it.
func (s *site) release(id string) fleet.Release {
	s.t.Helper()
	_, state := s.record()
	if r := state.Find(id); r != nil {
		return *r
	}
	return fleet.Release{}
}

// until lets hosts that wait ask at once, until the record of a release is as wanted.
func (s *site) until(id, what string, is func(fleet.Release) bool) (r fleet.Release) {
	s.t.Helper()
	var before string
	eventually(s.t, patience, what, func() error {
		if r = s.release(id); is(r) {
			return nil
		}
		if now := fmt.Sprintf("%d done, %d seats, failed: %v", r.Done, len(r.Seats), r.Failed); now != before {
			s.t.Log(time.Now().Format(time.TimeOnly), now)
			before = now
		}
		for _, m := range s.hosts {
			m.poke()
		}
		return fmt.Errorf("the record is %+v", r)
	})
	return r
}

// isDone is true of a release that so many hosts run, and none has failed or is under way.
func isDone(hosts int) func(fleet.Release) bool {
	return func(r fleet.Release) bool { return r.Done == hosts && len(r.Seats) == 0 && len(r.Failed) == 0 }
}

// dead counts the servers that have ended, and the hosts that they were on.
func (s *site) dead() (servers, hosts int) {
	for _, m := range s.hosts {
		n := 0
		for _, server := range m.servers {
			if isOver(server.Exited()) {
				n++
			}
		}
		servers += n
		hosts += min(n, 1)
	}
	return servers, hosts
}

func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// boundsHeld looks at each state that the record ever had: etcd keeps all of them.
func (s *site) boundsHeld() {
	s.t.Helper()
	p, _ := s.record()
	for _, state := range s.history() {
		seats := 0
		for _, r := range state.Releases {
			seats += r.InUse()
			open := min(len(r.Proven), len(p.Waves)-1) // a proven wave may bake yet: at most this one is open
			if w := p.Waves[open]; r.InUse() > w.Slots || w.Hosts > 0 && r.Entered() > w.Hosts {
				s.t.Errorf("wave %s has %d seats and %d hosts: %+v", w.Name, r.InUse(), r.Entered(), r)
			}
		}
		if most := slices.MaxFunc(p.Waves, func(a, b fleet.Wave) int { return a.Slots - b.Slots }).Slots; seats > most {
			s.t.Errorf("%d seats at a time", seats)
		}
	}
}

// history is each state that the record had.
func (s *site) history() (all []fleet.State) {
	s.t.Helper()
	for _, text := range revisions(s.t, s.e, prefix+"/state") {
		state, err := fleet.ParseState(text)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, state)
	}
	return all
}
