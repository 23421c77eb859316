// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// container is one in which the service runs.
type container struct {
	p          *podman
	id, socket string
}

// started is podman run with what the manifest gives to the container, less a capability. how are options, and more arguments.
func (p *podman) started(ctx context.Context, without string, how []string, more ...string) *exec.Cmd {
	profile := p.profile
	if p.rights.Seccomp != "RuntimeDefault" {
		profile = "unconfined"
	}
	args := append(append([]string{"run", "--security-opt=seccomp=" + profile}, how...), p.arguments(without)...)
	words := append(slices.Clone(p.rights.Command), append(slices.Clone(p.rights.Args), more...)...)
	if len(p.rights.Command) > 0 {
		args = append(args, "--entrypoint="+words[0])
		words = words[1:]
	}
	return command(ctx, append(append(args, p.image), words...)...)
}

// serve starts the service with the arguments of the manifest, and more.
func (p *podman) serve(ctx context.Context, more ...string) (*container, error) {
	cmd := p.started(ctx, "", []string{"--detach"}, more...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("podman run: %w", err)
	}
	return &container{p, strings.TrimSpace(string(out)), filepath.Join(p.host["/run/ebpf-upgrader"], "control.sock")}, nil
}

// end removes the container. Of a run that failed it prints the log first.
func (c *container) end(hasFailed bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if hasFailed {
		out, _ := command(ctx, "logs", c.id).CombinedOutput()
		fmt.Fprintf(os.Stderr, "the log of the service:\n%s", out)
	}
	out, err := command(ctx, "rm", "--force", "--time=5", c.id).CombinedOutput()
	if err != nil {
		return fmt.Errorf("podman rm: %w\n%s", err, out)
	}
	return nil
}

// probe asks as the kubelet does, in the network of the container.
func (c *container) probe(ctx context.Context) error {
	for _, path := range append(c.p.rights.ProbePaths, "/metrics") {
		code, answer, err := c.get(ctx, path)
		if err != nil {
			return fmt.Errorf("probe %s: %w", path, err)
		}
		if code != http.StatusOK {
			return fmt.Errorf("probe %s: %d %s", path, code, answer)
		}
	}
	return nil
}

// get asks the port of the metrics.
func (c *container) get(ctx context.Context, path string) (code int, text string, err error) {
	out, err := command(ctx, "inspect", "--format", "{{.State.Pid}}", c.id).Output()
	if err != nil {
		return 0, "", fmt.Errorf("podman inspect: %w", err)
	}
	network, err := os.Open("/proc/" + strings.TrimSpace(string(out)) + "/ns/net")
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = network.Close() }()
	dial := func(ctx context.Context, kind, address string) (net.Conn, error) {
		return dialIn(ctx, network, kind, address)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.p.rights.MetricsPort, path), nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, string(body), err
}

// dialIn connects from a thread in the network. The thread ends with the goroutine, because it is never unlocked.
func dialIn(ctx context.Context, network *os.File, kind, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: errors.Join(errors.New("enter the container's network"), err)}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, kind, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
