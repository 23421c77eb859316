// SPDX-License-Identifier: MIT

//go:build linux

// Command container runs the image in podman with exactly the rights of the manifest in packaging/container/kustomize.
//
// Servers of two users on the host are upgraded by a rollout, the probes are answered, and doctor names each capability that
// is taken away, and the filter of a runtime that refuses bpf(2). Then it stages releases by both containers of
// packaging/container/kustomize/release, beside a service with components/staged. It needs root, podman and setpriv; no image is fetched.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/container/manifest"
	"ebpf-upgrader/test/testfleet"
)

func main() {
	testfleet.Main() // does not return in a server
	image := flag.String("image", "", "the image (make image)")
	manifests := flag.String("manifests", "packaging/container/kustomize", "the folder of the manifests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := check(ctx, *image, *manifests)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

// within limits the whole run.
const within = 5 * time.Minute

func check(ctx context.Context, image, manifests string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	documents, err := manifest.Build(filepath.Join(manifests, "base"))
	if err != nil {
		return err
	}
	_, rights, err := manifest.Check(documents)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "container-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := newPodman(dir, image, rights)
	if err != nil {
		return err
	}
	canTrack, err := p.complaints(ctx)
	if err != nil {
		return err
	}
	if err := p.life(ctx, dir, canTrack); err != nil {
		return err
	}
	return checkRelease(ctx, image, manifests)
}

// serverName keeps other services of the host from upgrading the servers, too.
const serverName = "rag-rat-container"

// life takes the service through a rollout. canTrack says that the kernel tracker must be its source.
func (p *podman) life(ctx context.Context, dir string, canTrack bool) (err error) {
	if err := os.Chmod(dir, 0o755); err != nil { // the servers' users go through it
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	install, err := testfleet.NewInstall(dir, own)
	if err != nil {
		return err
	}
	servers, err := startServers(ctx, install.Path())
	defer func() { err = errors.Join(err, stopServers(servers)) }()
	if err != nil {
		return err
	}
	c, err := p.serve(ctx, "--name", serverName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end(err != nil)) }()
	return c.rollout(ctx, install, own, servers, canTrack)
}

// startServers starts servers of two users.
func startServers(ctx context.Context, path string) (servers []*testfleet.Server, err error) {
	for _, uid := range []uint32{6001, 6001, 6002, 6002} {
		s, err := testfleet.Start(ctx, testfleet.Options{
			Binary: path, UpgradeBin: &path, Argv0: serverName, Credential: &testfleet.Credential{UID: uid, GID: uid},
		})
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
		if err := s.AwaitArmed(ctx, 0); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

func stopServers(servers []*testfleet.Server) (err error) {
	for _, s := range servers {
		err = errors.Join(err, s.Stop())
	}
	return err
}

func (c *container) rollout(ctx context.Context, install *testfleet.Install, own string, servers []*testfleet.Server, canTrack bool) error {
	client := control.NewClient(c.socket)
	status, err := awaitServers(ctx, client, len(servers))
	if err != nil {
		return err
	}
	gate := "no gate: " + status.Gate.Reason
	if status.Gate.Active {
		gate = "the gate, by " + status.Gate.Way
	}
	fmt.Printf("the service serves %d servers of the host, source %s, %s\n", len(servers), status.Source, gate)
	if canTrack && status.Source != api.SourceBPF {
		return errors.New("doctor loads the tracker, and the service does not")
	}
	if err := c.probe(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := install.Replace(own); err != nil {
		return err
	}
	for _, s := range servers {
		if err := s.AwaitGeneration(ctx, 1); err != nil {
			return fmt.Errorf("server %d: %w", s.PID(), err)
		}
	}
	fmt.Printf("%d servers of two users were upgraded in %.1f s\n", len(servers), time.Since(began).Seconds())
	return nil
}

// awaitServers polls until the service answers, and knows n servers.
func awaitServers(ctx context.Context, client *control.Client, n int) (control.Status, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := client.Status(ctx)
		if err == nil {
			known, unknown := client.Servers(ctx)
			if err = unknown; err == nil && len(known) == n {
				return status, nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return status, fmt.Errorf("the service does not know %d servers: %w", n, errors.Join(err, ctx.Err()))
		}
	}
}
