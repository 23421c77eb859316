// SPDX-License-Identifier: MIT

package manifest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Rights is what the container gets from its runtime.
type Rights struct {
	Image string
	Args  []string
	Env   []string
	// Capabilities are without CAP_, as in the manifest.
	Capabilities []string
	// Seccomp is RuntimeDefault or Unconfined.
	Seccomp string
	// SELinuxType is the type of the process where the host has SELinux.
	SELinuxType string
	// Mounts has the host's folder of each place in the container.
	Mounts map[string]string
	// MemoryBytes is the limit.
	MemoryBytes int64
	// MetricsPort is where the probes ask.
	MetricsPort int32
	// ProbePaths are what they ask for.
	ProbePaths []string
}

// needed are the capabilities that suffice, and CAP_LEASE (docs/CONTAINERS.md).
var needed = []corev1.Capability{"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "KILL", "LEASE"}

// mounts are the host's folders, each at its own path.
var mounts = []string{"/run/ebpf-upgrader", "/var/lib/ebpf-upgrader"}

// exact requires the rights that the service needs, and no others. Kubernetes accepts more and less.
func exact(o Objects) error {
	spec := &o.DaemonSet.Spec.Template.Spec
	if len(spec.Containers) != 1 || len(spec.InitContainers) > 0 || len(spec.EphemeralContainers) > 0 {
		return errors.New("rights: one container is needed")
	}
	if o.ServiceAccount.AutomountServiceAccountToken == nil || spec.AutomountServiceAccountToken == nil {
		return errors.New("rights: a token of the service account is not needed")
	}
	c := &spec.Containers[0]
	var errs []error
	require := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			errs = append(errs, fmt.Errorf("rights: %s is %v, want %v", what, printed(got), printed(want)))
		}
	}
	yes, no, root, unmasked := true, false, int64(0), (*corev1.ProcMountType)(nil)
	require("automountServiceAccountToken", []bool{*o.ServiceAccount.AutomountServiceAccountToken, *spec.AutomountServiceAccountToken}, []bool{false, false})
	require("hostPID", spec.HostPID, true)
	require("hostNetwork", spec.HostNetwork, false)
	require("ports", c.Ports, []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9750, Protocol: corev1.ProtocolTCP}})
	require("hostIPC", spec.HostIPC, false)
	require("shareProcessNamespace", spec.ShareProcessNamespace, (*bool)(nil))
	require("hostUsers", spec.HostUsers, (*bool)(nil))
	require("tolerations", spec.Tolerations, []corev1.Toleration{{Operator: corev1.TolerationOpExists}})
	require("pod's securityContext", spec.SecurityContext, &corev1.PodSecurityContext{
		AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		SELinuxOptions:  &corev1.SELinuxOptions{Type: "spc_t"},
	})
	if s := c.SecurityContext; s == nil || s.Capabilities == nil || s.SeccompProfile == nil {
		errs = append(errs, errors.New("rights: the container's securityContext is incomplete"))
	} else {
		require("capabilities.drop", s.Capabilities.Drop, []corev1.Capability{"ALL"})
		require("capabilities.add", s.Capabilities.Add, needed)
		require("readOnlyRootFilesystem", s.ReadOnlyRootFilesystem, &yes)
		require("allowPrivilegeEscalation", s.AllowPrivilegeEscalation, &no)
		require("runAsUser", s.RunAsUser, &root)
		require("procMount", s.ProcMount, unmasked)
		require("privileged", s.Privileged, (*bool)(nil))
	}
	return errors.Join(append(errs, exactMounts(spec, c))...)
}

// printed shows what a pointer leads to.
func printed(v any) any {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		return r.Elem().Interface()
	}
	return v
}

func exactMounts(spec *corev1.PodSpec, c *corev1.Container) error {
	var got []string
	for _, v := range spec.Volumes {
		i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		if v.HostPath == nil || i < 0 || c.VolumeMounts[i].MountPath != v.HostPath.Path {
			return fmt.Errorf("rights: volume %s is no folder of the host at its own path", v.Name)
		}
		if *v.HostPath.Type != corev1.HostPathDirectoryOrCreate || c.VolumeMounts[i].ReadOnly {
			return fmt.Errorf("rights: volume %s must be made on a new host, and be writable", v.Name)
		}
		got = append(got, v.HostPath.Path)
	}
	if !slices.Equal(got, mounts) || len(c.VolumeMounts) != len(mounts) {
		return fmt.Errorf("rights: mounts are %v, want %v", got, mounts)
	}
	return nil
}

// rightsOf is for a pod with exactly the rights that are needed.
func rightsOf(spec *corev1.PodSpec) Rights {
	c := &spec.Containers[0]
	r := Rights{
		Image: c.Image, Args: c.Args, Mounts: map[string]string{}, MemoryBytes: c.Resources.Limits.Memory().Value(),
		MetricsPort: c.Ports[0].ContainerPort, Seccomp: string(c.SecurityContext.SeccompProfile.Type), SELinuxType: spec.SecurityContext.SELinuxOptions.Type,
	}
	for _, e := range c.Env {
		r.Env = append(r.Env, e.Name+"="+e.Value)
	}
	for _, name := range c.SecurityContext.Capabilities.Add {
		r.Capabilities = append(r.Capabilities, string(name))
	}
	for _, v := range spec.Volumes {
		r.Mounts[v.HostPath.Path] = v.HostPath.Path
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		r.ProbePaths = append(r.ProbePaths, p.HTTPGet.Path)
	}
	return r
}
