// SPDX-License-Identifier: MIT

package manifest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	psa "k8s.io/pod-security-admission/api"
)

const (
	baseDir    = "../../../packaging/container/kustomize/base"
	components = "../../../packaging/container/kustomize/components"
)

func built(t *testing.T, dir string) []string {
	t.Helper()
	documents, err := Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

// TestBase_KubernetesDecides_Accepted with what pod security holds against it, which is all that it has more than a pod of
// the level baseline.
func TestBase_KubernetesDecides_Accepted(t *testing.T) {
	o, rights, err := Check(built(t, baseDir))
	if err != nil {
		t.Fatal(err)
	}
	if len(rights.ProbePaths) != 3 || rights.MetricsPort == 0 || rights.MemoryBytes == 0 {
		t.Errorf("%+v", rights)
	}
	got := atLevel(psa.LevelVersion{Level: psa.LevelBaseline, Version: psa.LatestVersion()}, &o.DaemonSet.Spec.Template).ForbiddenReasons
	slices.Sort(got)
	want := []string{"forbidden AppArmor profile", "host namespaces", "hostPath volumes", "non-default capabilities", "seLinuxOptions"}
	if !slices.Equal(got, want) {
		t.Errorf("baseline forbids %q, want %q", got, want)
	}
}

// TestMutant_OneChange_RefusedByReason: the stage that refuses it stands first in the error.
func TestMutant_OneChange_RefusedByReason(t *testing.T) {
	documents := built(t, baseDir)
	for _, c := range []struct{ old, changed, want string }{
		{"readOnlyRootFilesystem", "readOnlyRootFileSystem", `decode: unknown field "spec.template.spec.containers[0].securityContext.readOnlyRootFileSystem"`},
		{"hostPID: true", "hostPid: true", `decode: unknown field "spec.template.spec.hostPid"`},
		{"periodSeconds: 2", "periodSeconds: two", "decode: periodSeconds"},
		{"apiVersion: apps/v1", "apiVersion: apps/v9", "decode: no kind"},
		{"periodSeconds: 2", "periodSeconds: -1", "validate: startupProbe.periodSeconds"},
		{"maxUnavailable: 10%", "maxUnavailable: 0", "validate: maxUnavailable"},
		{"containerPort: 9750", "containerPort: 97500", "validate: containerPort"},
		{"mountPath: /run/ebpf-upgrader", "mountPath: /var/lib/ebpf-upgrader", "validate: must be unique"},
		{"type: RuntimeDefault", "type: Default", "validate: seccompProfile.type"},
		{"runAsUser: 0", "runAsUser: 0\n          privileged: true", "validate: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"},
		{"allowPrivilegeEscalation: false", "privileged: true", "rights: privileged is true"},
		{"enforce: privileged", "enforce: baseline", "pod security: host namespaces"},
		{"enforce: privileged", "enforce: lax", "pod security: Invalid value"},
		{"    pod-security.kubernetes.io/enforce: privileged\n", "", "pod security: host namespaces"},
		{"hostPID: true", "hostPID: false", "rights: hostPID is false"},
		{"hostPID: true", "hostPID: true\n      hostNetwork: true", "rights: hostNetwork is true"},
		{"containerPort: 9750", "containerPort: 9750\n          hostPort: 9750", "rights: ports"},
		{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "rights: readOnlyRootFilesystem is false"},
		{"runAsUser: 0", "runAsUser: 1000", "rights: runAsUser is 1000"},
		{"automountServiceAccountToken: false", "automountServiceAccountToken: true", "rights: automountServiceAccountToken"},
		{"- ALL", "- CHOWN", "rights: capabilities.drop"},
		{"- BPF\n", "- BPF\n            - SYS_ADMIN\n", "rights: capabilities.add"},
		{"path: /run/ebpf-upgrader\n", "path: /run\n", "rights: volume run is no folder"},
		{"type: spc_t", "type: container_t", "rights: pod's securityContext"},
		{"operator: Exists", "operator: Exists\n        key: a", "rights: tolerations"},
	} {
		refused(t, documents, c.old, c.changed, c.want)
	}
	for _, name := range needed {
		refused(t, documents, "            - "+string(name)+"\n", "", "rights: capabilities.add")
	}
}

// refused changes all places, so that a right that is given twice is taken.
func refused(t *testing.T, documents []string, old, changed, want string) {
	t.Helper()
	refusedBy(t, func(documents []string) error { _, _, err := Check(documents); return err }, documents, old, changed, want)
}

func refusedBy(t *testing.T, check func([]string) error, documents []string, old, changed, want string) {
	t.Helper()
	text := strings.Join(documents, "\x00")
	mutant := strings.ReplaceAll(text, old, changed)
	if mutant == text {
		t.Errorf("%q is in no manifest", old)
		return
	}
	err := check(strings.Split(mutant, "\x00"))
	stage, reason, _ := strings.Cut(want, ": ")
	if err == nil || !strings.HasPrefix(err.Error(), stage+": ") || !strings.Contains(err.Error(), reason) {
		t.Errorf("%q instead of %q: %v, want %q", changed, old, err, want)
	}
}

// TestComponents_BesideBase_ChangeOneThing.
func TestComponents_BesideBase_ChangeOneThing(t *testing.T) {
	_, rights, err := Check(overlay(t, "seccomp-unconfined"))
	if err != nil || rights.Seccomp != "Unconfined" || rights.Image != "registry.example/ebpf-upgrader:1.2.3" {
		t.Errorf("%+v, %v", rights, err)
	}
	monitored := overlay(t, "pod-monitor")
	if all := strings.Join(monitored, ""); len(monitored) != 4 || !strings.Contains(all, "kind: PodMonitor") || !strings.Contains(all, "port: metrics") {
		t.Errorf("%s", all)
	}
}

// overlay is the base with a component, built.
func overlay(t *testing.T, component string) []string {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	relative := func(path string) string {
		way, err := filepath.Rel(dir, filepath.Join(here, path))
		if err != nil {
			t.Fatal(err)
		}
		return way
	}
	text := "resources: [" + relative(baseDir) + "]\ncomponents: [" + relative(filepath.Join(components, component)) + "]\n" +
		"images: [{name: ebpf-upgrader, newName: registry.example/ebpf-upgrader, newTag: 1.2.3}]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return built(t, dir)
}
