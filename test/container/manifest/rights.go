// SPDX-License-Identifier: MIT

package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Rights is what a container gets from its runtime.
type Rights struct {
	Image string
	// Command replaces the entry point of the image, unless it is empty.
	Command, Args []string
	Env           []string
	HasHostPID    bool
	// Capabilities are without CAP_, as in the manifest.
	Capabilities []string
	// Seccomp is RuntimeDefault or Unconfined.
	Seccomp string
	// SELinuxType is the type of the process where the host has SELinux.
	SELinuxType string
	// Mounts are in the order of their paths.
	Mounts []Mount
	// MemoryBytes is the limit.
	MemoryBytes int64
	// MetricsPort is where the probes ask.
	MetricsPort int32
	// ProbePaths are what they ask for.
	ProbePaths []string
}

// Mount is a folder of the host at its own path. Without a kind it is an empty folder that ends with the pod.
type Mount struct {
	Path       string
	Kind       corev1.HostPathType
	IsReadOnly bool
}

// need is what a container must have, and no more.
type need struct {
	capabilities []corev1.Capability
	// mounts are in the order of their paths.
	mounts []Mount
}

// needed are the capabilities that suffice, and CAP_LEASE (docs/CONTAINERS.md).
var needed = []corev1.Capability{"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "KILL", "LEASE"}

var (
	run   = Mount{Path: "/run/ebpf-upgrader", Kind: corev1.HostPathDirectoryOrCreate}
	state = Mount{Path: "/var/lib/ebpf-upgrader", Kind: corev1.HostPathDirectoryOrCreate}
	base  = need{needed, []Mount{run, state}}
	// staged is base with components/staged (docs/STAGING.md).
	staged = need{append(slices.Clone(needed), "SETUID", "SETGID", "SYS_ADMIN"), []Mount{
		{"/lib", corev1.HostPathDirectory, true},
		{"/lib64", corev1.HostPathDirectory, true},
		{Path: "/opt/rag-rat", Kind: corev1.HostPathDirectoryOrCreate},
		run,
		{Path: "/tmp"},
		{"/usr", corev1.HostPathDirectory, true},
		state,
	}}
)

// wrong collects what is not as it must be.
type wrong []error

func (w *wrong) require(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		*w = append(*w, fmt.Errorf("rights: %s is %v, want %v", what, printed(got), printed(want)))
	}
}

// exact requires the rights that the service needs, and no others. Kubernetes accepts more and less.
func exact(o Objects, n need) error {
	spec := &o.DaemonSet.Spec.Template.Spec
	if len(spec.Containers) != 1 || len(spec.InitContainers) > 0 {
		return errors.New("rights: one container is needed")
	}
	if o.ServiceAccount.AutomountServiceAccountToken == nil {
		return errors.New("rights: a token of the service account is not needed")
	}
	var w wrong
	no := false
	w.require("automountServiceAccountToken", o.ServiceAccount.AutomountServiceAccountToken, &no)
	w.require("hostPID", spec.HostPID, true)
	w.require("ports", spec.Containers[0].Ports, []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9750, Protocol: corev1.ProtocolTCP}})
	w.require("pod's securityContext", spec.SecurityContext, &corev1.PodSecurityContext{
		AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		SELinuxOptions:  &corev1.SELinuxOptions{Type: "spc_t"},
	})
	if c := spec.Containers[0].SecurityContext; c == nil || c.SeccompProfile == nil {
		w = append(w, errors.New("rights: the container's securityContext is incomplete"))
	}
	w.pod(spec)
	w.container(spec, &spec.Containers[0], n)
	return errors.Join(w...)
}

// pod requires what no pod needs.
func (w *wrong) pod(spec *corev1.PodSpec) {
	no := false
	w.require("automountServiceAccountToken", spec.AutomountServiceAccountToken, &no)
	w.require("hostNetwork", spec.HostNetwork, false)
	w.require("hostIPC", spec.HostIPC, false)
	w.require("shareProcessNamespace", spec.ShareProcessNamespace, (*bool)(nil))
	w.require("hostUsers", spec.HostUsers, (*bool)(nil))
	w.require("tolerations", spec.Tolerations, []corev1.Toleration{{Operator: corev1.TolerationOpExists}})
	w.require("ephemeralContainers", len(spec.EphemeralContainers), 0)
}

// container requires exactly what is needed of root.
func (w *wrong) container(spec *corev1.PodSpec, c *corev1.Container, n need) {
	s := c.SecurityContext
	if s == nil || s.Capabilities == nil {
		*w = append(*w, fmt.Errorf("rights: the securityContext of %s is incomplete", c.Name))
		return
	}
	yes, no, root := true, false, int64(0)
	w.require("capabilities.drop", s.Capabilities.Drop, []corev1.Capability{"ALL"})
	w.require("capabilities.add", s.Capabilities.Add, n.capabilities)
	w.require("readOnlyRootFilesystem", s.ReadOnlyRootFilesystem, &yes)
	w.require("allowPrivilegeEscalation", s.AllowPrivilegeEscalation, &no)
	w.require("runAsUser", s.RunAsUser, &root)
	w.require("procMount", s.ProcMount, (*corev1.ProcMountType)(nil))
	w.require("privileged", s.Privileged, (*bool)(nil))
	got, err := mountsOf(spec, c)
	if err != nil {
		*w = append(*w, err)
		return
	}
	w.require("mounts", got, n.mounts)
}

// printed shows what a pointer leads to.
func printed(v any) any {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		return r.Elem().Interface()
	}
	return v
}

// mountsOf are the mounts of a container. The validation has found a volume for each.
func mountsOf(spec *corev1.PodSpec, c *corev1.Container) (all []Mount, err error) {
	for _, m := range c.VolumeMounts {
		v := spec.Volumes[slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })]
		at := Mount{Path: m.MountPath, IsReadOnly: m.ReadOnly}
		switch {
		case v.EmptyDir != nil:
		case v.HostPath == nil || v.HostPath.Path != m.MountPath || m.SubPath != "":
			return nil, fmt.Errorf("rights: volume %s is no folder of the host at its own path", v.Name)
		default:
			at.Kind = *v.HostPath.Type
		}
		all = append(all, at)
	}
	slices.SortFunc(all, func(a, b Mount) int { return cmp.Compare(a.Path, b.Path) })
	return all, nil
}

// rightsOf is for a container with exactly the rights that are needed.
func rightsOf(spec *corev1.PodSpec, c *corev1.Container) Rights {
	r := Rights{
		Image: c.Image, Command: c.Command, Args: c.Args, HasHostPID: spec.HostPID, MemoryBytes: c.Resources.Limits.Memory().Value(),
		SELinuxType: spec.SecurityContext.SELinuxOptions.Type,
	}
	for _, p := range []*corev1.SeccompProfile{spec.SecurityContext.SeccompProfile, c.SecurityContext.SeccompProfile} {
		if p != nil {
			r.Seccomp = string(p.Type)
		}
	}
	for _, p := range c.Ports {
		r.MetricsPort = p.ContainerPort
	}
	for _, e := range c.Env {
		r.Env = append(r.Env, e.Name+"="+e.Value)
	}
	for _, name := range c.SecurityContext.Capabilities.Add {
		r.Capabilities = append(r.Capabilities, string(name))
	}
	r.Mounts, _ = mountsOf(spec, c) // was checked
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil && p.HTTPGet != nil {
			r.ProbePaths = append(r.ProbePaths, p.HTTPGet.Path)
		}
	}
	return r
}
