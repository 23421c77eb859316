// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/profiles/seccomp"
	corev1 "k8s.io/api/core/v1"

	"ebpf-upgrader/test/container/manifest"
)

// podman runs the image with the rights of the manifest.
type podman struct {
	image  string
	rights manifest.Rights
	// host has the host's folder for each mount of the manifest.
	host map[string]string
	// profile is a file with the seccomp profile that Docker and containerd have for RuntimeDefault.
	profile string
}

// newPodman makes the folders of the host in dir, but those that the manifest expects to be there.
func newPodman(dir, image string, rights manifest.Rights) (*podman, error) {
	p := &podman{image: image, rights: rights, host: map[string]string{}, profile: filepath.Join(dir, "seccomp.json")}
	for _, m := range rights.Mounts {
		if m.Kind == corev1.HostPathDirectory {
			p.host[m.Path] = m.Path
			continue
		}
		p.host[m.Path] = filepath.Join(dir, strings.ReplaceAll(m.Path, "/", "-"))
		if err := os.MkdirAll(p.host[m.Path], 0o755); err != nil { // as the kubelet makes it
			return nil, err
		}
	}
	text, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.profile, text, 0o600)
}

// command runs podman without a second hierarchy of control groups, as scripts/test-docker does: crun refuses both at once.
func command(ctx context.Context, args ...string) *exec.Cmd {
	const script = `umount -q /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"`
	return exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation=private", "sh", "-c", script, "sh"}, args...)...)
}

// arguments are those of podman run for the rights of the manifest, less a capability. The folders of the host are others, so
// that no service of the host is met. Limits are those of this process, since podman raises them unless it gets some.
func (p *podman) arguments(without string) []string {
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) // fails for a bad address only
	args := []string{
		"--network=none", "--pull=never", "--user=0", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
		"--security-opt=no-new-privileges", "--security-opt=apparmor=unconfined", "--security-opt=label=type:" + p.rights.SELinuxType,
		fmt.Sprintf("--memory=%d", p.rights.MemoryBytes), fmt.Sprintf("--ulimit=nofile=%d:%d", files.Cur, files.Max), "--ulimit=nproc=16384:16384",
	}
	for _, name := range p.rights.Capabilities {
		if name != without {
			args = append(args, "--cap-add="+name)
		}
	}
	if p.rights.HasHostPID {
		args = append(args, "--pid=host")
	}
	for _, m := range p.rights.Mounts {
		mode := ":rw"
		if m.IsReadOnly {
			mode = ":ro"
		}
		args = append(args, "--volume="+p.host[m.Path]+":"+m.Path+mode)
	}
	for _, e := range p.rights.Env {
		args = append(args, "--env="+e)
	}
	return args
}

// finding is a line of the doctor.
type finding struct {
	Check  string
	OK     bool
	Found  string
	Do     string
	IsNote bool `json:"note"`
}

// doctor returns what the doctor says is not well in a container, without the gate, which depends on the kernel.
func (p *podman) doctor(ctx context.Context, without, profile string) ([]finding, error) {
	args := append([]string{"run", "--rm", "--security-opt=seccomp=" + profile}, p.arguments(without)...)
	cmd := command(ctx, append(args, p.image, "doctor", "-o", "json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output() // it fails where the tracker cannot be used
	var report struct{ Checks []finding }
	if unread := json.Unmarshal(out, &report); unread != nil {
		return nil, fmt.Errorf("doctor in a container: %w\n%s", errors.Join(err, unread), &stderr)
	}
	beside := []string{"gate", "servers", "service", "other senders"} // of the host
	return slices.DeleteFunc(report.Checks, func(f finding) bool { return f.OK || slices.Contains(beside, f.Check) }), nil
}

// complaints has doctor find nothing with all rights, and what is missing without one. canTrack says whether the tracker works
// with all.
func (p *podman) complaints(ctx context.Context) (canTrack bool, err error) {
	whole, err := p.doctor(ctx, "", p.profile)
	if err != nil {
		return false, err
	}
	if len(whole) > 0 {
		return false, fmt.Errorf("doctor misses with all rights: %+v", whole)
	}
	fmt.Println("doctor is content with the rights of the manifest, and the seccomp profile of Docker and containerd")
	for _, name := range p.rights.Capabilities {
		found, err := p.doctor(ctx, name, p.profile)
		if err != nil {
			return false, err
		}
		// The profile permits the two by these capabilities, so it refuses too.
		if !named(found, "CAP_"+name, "--cap-add="+name) {
			return false, fmt.Errorf("doctor does not name CAP_%s: %+v", name, found)
		}
		fmt.Printf("doctor names CAP_%s where it is missing\n", name)
	}
	const podmans = "/usr/share/containers/seccomp.json"
	if text, err := os.ReadFile(podmans); err == nil && !bytes.Contains(text, []byte("CAP_BPF")) {
		found, err := p.doctor(ctx, "", podmans)
		if err != nil {
			return false, err
		}
		if !named(found, "seccomp", "seccomp=unconfined") || !named(found, "tracker", "repair first: seccomp") {
			return false, fmt.Errorf("doctor does not name podman's profile: %+v", found)
		}
		fmt.Println("doctor names the seccomp profile of this podman, which refuses bpf(2)")
	}
	return true, nil
}

func named(found []finding, check, do string) bool {
	return slices.ContainsFunc(found, func(f finding) bool { return f.Check == check && strings.Contains(f.Do, do) })
}
