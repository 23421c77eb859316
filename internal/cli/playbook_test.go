// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/testfleet"
)

// asHost is the shell of a host that Ansible reaches: it runs in a container.
const asHost = `#!/bin/sh
exec nsenter --target %d --mount --pid --root=/proc/%[1]d/root --wd=/ env EBPF_UPGRADER_SOCKET=/run/ebpf-upgrader/s /bin/sh "$@"
`

// play is the playbook of docs/STAGING.md with hosts that are containers.
type play struct {
	t     *testing.T
	dir   string
	hosts []*container
}

// newPlay skips the test where there is no Ansible, unless REQUIRE_ANSIBLE=1 says that there must be one.
func newPlay(t *testing.T) *play {
	t.Helper()
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		gate := t.Skipf
		if os.Getenv("REQUIRE_ANSIBLE") == "1" {
			gate = t.Fatalf
		}
		gate("needs ansible-core: %v", err)
	}
	p := &play{t: t, dir: t.TempDir()}
	text, err := os.ReadFile("../../docs/STAGING.md")
	must(t, err)
	_, below, _ := strings.Cut(string(text), "\n### Ansible\n")
	begin, end := strings.Index(below, "    - hosts:"), strings.Index(below, "\n\n`Test")
	if begin < 0 || end < begin {
		t.Fatal("docs/STAGING.md has no playbook")
	}
	book := strings.ReplaceAll(strings.ReplaceAll(below[begin:end+1], "\n    ", "\n")[4:], "--bake 10m", "--bake 1s")
	must(t, os.WriteFile(filepath.Join(p.dir, "site.yml"), []byte(book), 0o644))
	return p
}

// addHost adds a host with a service, and returns the install there and a server of it.
func (p *play) addHost() (*scene, *testfleet.Server, *control.Client) {
	p.t.Helper()
	c := newContainer(p.t, p.dir, p.dir)
	s := c.install("/usr/local/bin")
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec %s \"$@\"\n", asProgram, thisBinary(p.t))
	must(p.t, os.WriteFile(filepath.Join(c.root, "/usr/local/bin/ebpf-upgrader"), []byte(program), 0o755))
	shell := filepath.Join(p.dir, fmt.Sprintf("host%d", len(p.hosts)))
	must(p.t, os.WriteFile(shell, fmt.Appendf(nil, asHost, c.pid), 0o755))
	server := c.start(s, "rag-rat")
	service := c.serve("--source", "proc", "--stage", c.inside(s.Path()))
	p.hosts = append(p.hosts, c)
	return s, server, service.client(p.t)
}

// run plays the book with a file, as root without sudo.
func (p *play) run(file []byte) (string, error) {
	p.t.Helper()
	must(p.t, os.WriteFile(filepath.Join(p.dir, "rag-rat"), file, 0o755))
	inventory := "[agents]\n"
	for i := range p.hosts {
		inventory += fmt.Sprintf("host%d ansible_connection=local ansible_become=false ansible_shell_executable=%s/host%[1]d"+
			" ansible_remote_tmp=%[2]s ansible_python_interpreter=/usr/bin/python3\n", i, p.dir)
	}
	must(p.t, os.WriteFile(filepath.Join(p.dir, "hosts"), []byte(inventory), 0o644))
	cmd := exec.Command("ansible-playbook", "-i", "hosts", "site.yml")
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPlaybook_ThreeHosts_StopsAtABadFile runs the playbook of docs/STAGING.md.
func TestPlaybook_ThreeHosts_StopsAtABadFile(t *testing.T) {
	takesLong(t)
	needRoot(t)
	t.Parallel()
	p := newPlay(t)
	var installs []*scene
	var servers []*testfleet.Server
	for range 3 {
		s, server, _ := p.addHost()
		installs, servers = append(installs, s), append(servers, server)
	}
	out, err := p.run([]byte("#!/bin/sh\nexit 7\n"))
	if err == nil || !strings.Contains(out, "exit code 7") {
		t.Fatalf("a bad file: %v\n%s", err, out)
	}
	for i, s := range installs {
		if _, err := os.Stat(s.Path() + ".next"); (err == nil) != (i == 0) {
			t.Errorf("host %d: %v; the play ends at the first", i, err)
		}
	}
	good, err := os.ReadFile(thisBinary(t))
	must(t, err)
	if out, err := p.run(append(good, "next"...)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, server := range servers {
		if server.Generation() != 1 {
			t.Errorf("the server of host %d is at generation %d", i, server.Generation())
		}
	}
}
