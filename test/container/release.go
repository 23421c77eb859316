// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/container/manifest"
	"ebpf-upgrader/test/testfleet"
)

// installFolder is that of the manifests. It is made below a file system of this process's mount namespace.
const installFolder = "/opt/rag-rat"

// release is a node with a service that stages files, and what the pods of a release get on it.
type release struct {
	dir     string
	service *container
	rights  manifest.Release
}

// checkRelease takes a good and a bad release through the two containers of its pod.
func checkRelease(ctx context.Context, image, manifests string) (err error) {
	if _, err := os.Stat(installFolder); err == nil {
		return errors.New(installFolder + " exists: run this in a mount namespace with an empty /opt, as make test-container does")
	}
	rights, released, err := releaseRights(manifests)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "container-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(installFolder)) }()
	p, err := newPodman(dir, image, rights)
	if err != nil {
		return err
	}
	p.host[installFolder] = installFolder // the servers name it, too
	if err := errors.Join(os.Mkdir(installFolder, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	if err := p.unstaged(ctx); err != nil {
		return err
	}
	return p.releases(ctx, dir, released)
}

func releaseRights(manifests string) (rights manifest.Rights, released manifest.Release, err error) {
	overlay, err := os.MkdirTemp("", "overlay-")
	if err != nil {
		return rights, released, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(overlay)) }()
	whole, err := filepath.Abs(manifests)
	if err != nil {
		return rights, released, err
	}
	way, err := filepath.Rel(overlay, whole)
	if err != nil {
		return rights, released, err
	}
	text := fmt.Sprintf("resources: [%s/base]\ncomponents: [%[1]s/components/staged]\n", way)
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return rights, released, err
	}
	documents, err := manifest.Build(overlay)
	if err != nil {
		return rights, released, err
	}
	o, rights, err := manifest.CheckStaged(documents)
	if err != nil {
		return rights, released, err
	}
	if documents, err = manifest.Build(filepath.Join(manifests, "release")); err == nil {
		released, err = manifest.CheckRelease(documents, o.Namespace)
	}
	return rights, released, err
}

// unstaged requires that the service says which capability of the cage is missing.
func (p *podman) unstaged(ctx context.Context) error {
	for _, name := range []string{"SETUID", "SETGID", "SYS_ADMIN"} {
		out, err := p.started(ctx, name, []string{"--rm"}, "--name", serverName).CombinedOutput()
		exit, isExit := errors.AsType[*exec.ExitError](err)
		if !isExit || exit.ExitCode() != 3 || !bytes.Contains(out, []byte("CAP_"+name)) {
			return fmt.Errorf("the service does not name CAP_%s: %w\n%s", name, err, out)
		}
	}
	fmt.Println("the service stages nothing without CAP_SETUID, CAP_SETGID or CAP_SYS_ADMIN, and says so")
	return nil
}

func (p *podman) releases(ctx context.Context, dir string, rights manifest.Release) (err error) {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	r := release{dir: dir, rights: rights}
	install, err := testfleet.NewInstall(installFolder, own)
	if err != nil {
		return err
	}
	servers, err := startServers(ctx, install.Path())
	defer func() { err = errors.Join(err, stopServers(servers)) }()
	if err != nil {
		return err
	}
	if r.service, err = p.serve(ctx, "--name", serverName); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.service.end(err != nil)) }()
	if _, err := awaitServers(ctx, control.NewClient(r.service.socket), len(servers)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeImages()) }()
	if err := r.build(ctx, p.image, own); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.good(ctx, servers) }, r.back, r.bad,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// good lets the init container put a good release in place.
func (r *release) good(ctx context.Context, servers []*testfleet.Server) error {
	began := time.Now()
	pod, err := r.container(goodImage, r.rights.Activate)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		out, err := pod.started(ctx, "", []string{"--rm"}).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("the init container: %w\n%s", err, out)
		}
		ended <- err
	}()
	why := ""
	for err = errRuns; errors.Is(err, errRuns); {
		select {
		case err = <-ended:
		case <-time.After(100 * time.Millisecond):
			if code, text, failed := r.service.get(ctx, "/readyz/fleet"); failed == nil && code == http.StatusServiceUnavailable {
				why = text
			}
		}
	}
	if err != nil {
		return err
	}
	if !strings.Contains(why, "is being activated at "+installFolder) {
		return fmt.Errorf("/readyz/fleet said %q meanwhile, not 503", why)
	}
	for _, s := range servers {
		if err := s.AwaitGeneration(ctx, 1); err != nil {
			return fmt.Errorf("server %d: %w", s.PID(), err)
		}
	}
	fmt.Printf("a release was staged, checked and put in place in %.1f s; 503 meanwhile\n", time.Since(began).Seconds())
	return r.probes(ctx, http.StatusOK, "ready: ")
}

// errRuns says that the init container runs.
var errRuns = errors.New("it runs")

// bad lets the init container fail on a release that fails its check.
func (r *release) bad(ctx context.Context) error {
	pod, err := r.container(badImage, r.rights.Activate)
	if err != nil {
		return err
	}
	before, err := os.Stat(installFolder + "/rag-rat")
	if err != nil {
		return err
	}
	out, failed := pod.started(ctx, "", []string{"--rm"}).CombinedOutput()
	after, err := os.Stat(installFolder + "/rag-rat")
	if err != nil || !os.SameFile(before, after) {
		return errors.Join(err, errors.New("a release that fails was put in place"))
	}
	if failed == nil || !bytes.Contains(out, []byte("preflight failed: ")) || !bytes.Contains(out, []byte(".next printed: ")) {
		return fmt.Errorf("the init container of a bad release: %w\n%s", failed, out)
	}
	fmt.Printf("the init container fails on a bad release, and nothing is put in place: %s", out)
	return nil
}

// back lets an operator roll the release back: the node is not ready until another one is staged.
func (r *release) back(ctx context.Context) error {
	if out, err := command(ctx, "exec", r.service.id, "/ebpf-upgrader", "rollback", installFolder+"/rag-rat").CombinedOutput(); err != nil {
		return fmt.Errorf("rollback: %w\n%s", err, out)
	}
	return r.probes(ctx, http.StatusServiceUnavailable, "failed at "+installFolder)
}

// probes asks as the kubelet and as a tool do, and both must agree.
func (r *release) probes(ctx context.Context, want int, says string) (err error) {
	code, text, err := r.service.get(ctx, "/readyz/fleet")
	if err != nil || code != want {
		return fmt.Errorf("/readyz/fleet: %d %s %w", code, text, err)
	}
	pod, err := r.container(goodImage, r.rights.Ready)
	if err != nil {
		return err
	}
	id, err := pod.started(ctx, "", []string{"--detach"}).Output()
	if err != nil {
		return fmt.Errorf("the container of the probe: %w", err)
	}
	ready := &container{p: pod, id: strings.TrimSpace(string(id))}
	defer func() { err = errors.Join(err, ready.end(err != nil)) }()
	out, failed := command(ctx, append([]string{"exec", ready.id}, r.rights.Probe...)...).CombinedOutput()
	if (failed == nil) != (want == http.StatusOK) || !bytes.Contains(out, []byte(says)) {
		return fmt.Errorf("the readiness probe: %w\n%s", failed, out)
	}
	fmt.Printf("the readiness probe says: %s", out)
	return nil
}

// container is one of the two containers of the pod, with the service's socket.
func (r *release) container(image string, rights manifest.Rights) (*podman, error) {
	pod, err := newPodman(r.dir, image, rights)
	if err == nil {
		pod.host["/run/ebpf-upgrader"] = r.service.p.host["/run/ebpf-upgrader"]
	}
	return pod, err
}
