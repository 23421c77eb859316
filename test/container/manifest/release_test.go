// SPDX-License-Identifier: MIT

package manifest

import (
	"slices"
	"testing"
)

const releaseDir = "../../../packaging/container/kustomize/release"

// TestStaged_BesideBase_GivesExactRights: the base does not have these, and they are all.
func TestStaged_BesideBase_GivesExactRights(t *testing.T) {
	documents := overlay(t, "staged")
	_, rights, err := CheckStaged(documents)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(rights.Args, "--stage=/opt/rag-rat/rag-rat") {
		t.Errorf("%+v", rights)
	}
	if _, _, err := Check(documents); err == nil {
		t.Error("the rights of the component pass as those of the base")
	}
	check := func(documents []string) error { _, _, err := CheckStaged(documents); return err }
	for _, c := range []struct{ old, changed, want string }{
		{"            - SYS_ADMIN\n", "", "rights: capabilities.add"},
		{"            - SETUID\n", "", "rights: capabilities.add"},
		{"            - SETGID\n", "            - SETGID\n            - DAC_OVERRIDE\n", "rights: capabilities.add"},
		{"mountPath: /usr\n          name: usr\n          readOnly: true", "mountPath: /usr\n          name: usr", "rights: mounts"},
		{"path: /opt/rag-rat", "path: /opt", "rights: volume install is no folder"},
		{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "rights: readOnlyRootFilesystem"},
	} {
		refusedBy(t, check, documents, c.old, c.changed, c.want)
	}
}

// TestRelease_OneChange_RefusedByReason, and without a change it is accepted.
func TestRelease_OneChange_RefusedByReason(t *testing.T) {
	o, _, err := CheckStaged(overlay(t, "staged"))
	if err != nil {
		t.Fatal(err)
	}
	documents := built(t, releaseDir)
	check := func(documents []string) error { _, err := CheckRelease(documents, o.Namespace); return err }
	if err := check(documents); err != nil {
		t.Fatal(err)
	}
	baseline := o.Namespace.DeepCopy()
	baseline.Labels["pod-security.kubernetes.io/enforce"] = "baseline"
	if _, err := CheckRelease(documents, baseline); err == nil {
		t.Error("a namespace of the level baseline admits folders of the host")
	}
	for _, c := range []struct{ old, changed, want string }{
		{"minReadySeconds: 660", "minReadySecond: 660", `decode: unknown field "spec.minReadySecond"`},
		{"minReadySeconds: 660", "minReadySeconds: -1", "validate: minReadySeconds"},
		{"minReadySeconds: 660", "minReadySeconds: 600", "rollout: minReadySeconds is 600"},
		{"maxUnavailable: 1", "maxUnavailable: 100%", "rollout: maxUnavailable"},
		{"readinessProbe", "livenessProbe", "rollout: a readiness probe"},
		{"- ready\n", "- poke\n", "rights: readiness probe"},
		{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "rights: readOnlyRootFilesystem"},
		{"allowPrivilegeEscalation: false", "privileged: true", "rights: privileged is true"},
		{"allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "rights: allowPrivilegeEscalation"},
		{"            - ALL\n", "            - CHOWN\n", "rights: capabilities.drop"},
		{"            drop:\n", "            add: [KILL]\n            drop:\n", "rights: capabilities.add"},
		{"runAsUser: 0", "runAsUser: 1000", "rights: runAsUser is 1000"},
		{"enableServiceLinks: false", "enableServiceLinks: false\n      hostPID: true", "rights: hostPID is true"},
		{"enableServiceLinks: false", "enableServiceLinks: false\n      hostNetwork: true", "rights: hostNetwork is true"},
		{"automountServiceAccountToken: false", "automountServiceAccountToken: true", "rights: automountServiceAccountToken"},
		{"          readOnly: true\n", "", "rights: mounts"},
		{"path: /opt/rag-rat\n", "path: /opt\n", "rights: volume install is no folder"},
		{"type: RuntimeDefault", "type: Unconfined", "rights: pod's securityContext"},
	} {
		refusedBy(t, check, documents, c.old, c.changed, c.want)
	}
}
