// SPDX-License-Identifier: MIT

package manifest

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Release is what the pod of a release gets from its runtime.
type Release struct {
	// Activate is the init container, and Ready the one that the probe is about.
	Activate, Ready Rights
	// Probe is the command of the readiness probe.
	Probe []string
}

var (
	// socket is where the service listens. To connect needs no writable mount.
	socket  = Mount{"/run/ebpf-upgrader", corev1.HostPathDirectory, true}
	install = Mount{Path: "/opt/rag-rat", Kind: corev1.HostPathDirectory}
)

// minBakeSeconds is how long a release bakes after activate, by default.
const minBakeSeconds = 600

// CheckRelease is Check for the documents of a release, in the namespace of the service.
func CheckRelease(documents []string, namespace *corev1.Namespace) (Release, error) {
	o, err := decode(documents)
	if err == nil && (o.DaemonSet == nil || len(documents) != 1) {
		err = errors.New("decode: one daemon set is needed")
	}
	if err != nil {
		return Release{}, err
	}
	spec := &o.DaemonSet.Spec.Template.Spec
	if len(spec.Containers) != 1 || len(spec.InitContainers) != 1 {
		return Release{}, errors.New("rights: an init container and a container are needed")
	}
	activate, ready := &spec.InitContainers[0], &spec.Containers[0]
	var w wrong
	w.require("hostPID", spec.HostPID, false)
	w.require("pod's securityContext", spec.SecurityContext, &corev1.PodSecurityContext{
		SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	})
	w.pod(spec)
	w.container(spec, activate, need{mounts: []Mount{install, socket}})
	w.container(spec, ready, need{mounts: []Mount{socket}})
	for _, c := range []*corev1.Container{activate, ready} {
		w.require("ports", len(c.Ports), 0)
	}
	w.rollout(o, ready)
	if err := errors.Join(append(w, admit(namespace, &o.DaemonSet.Spec.Template))...); err != nil {
		return Release{}, err
	}
	return Release{rightsOf(spec, activate), rightsOf(spec, ready), ready.ReadinessProbe.Exec.Command}, nil
}

// rollout requires that a node with a release that failed or bakes keeps the next node waiting.
func (w *wrong) rollout(o Objects, ready *corev1.Container) {
	if at := o.DaemonSet.Spec.MinReadySeconds; at <= minBakeSeconds {
		*w = append(*w, fmt.Errorf("rollout: minReadySeconds is %d: a release bakes for %d s", at, minBakeSeconds))
	}
	one := intstr.FromInt32(1)
	if update := o.DaemonSet.Spec.UpdateStrategy.RollingUpdate; update == nil || update.MaxUnavailable == nil || *update.MaxUnavailable != one {
		*w = append(*w, errors.New("rollout: maxUnavailable must be 1"))
	}
	if ready.ReadinessProbe == nil || ready.ReadinessProbe.Exec == nil {
		*w = append(*w, errors.New("rollout: a readiness probe by a command is needed"))
		return
	}
	w.require("readiness probe", ready.ReadinessProbe.Exec.Command, []string{"/ebpf-upgrader", "fleet", "ready"})
}
