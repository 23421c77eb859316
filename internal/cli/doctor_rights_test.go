// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/caps"
)

// TestDoctor_Label_NamesThePolicy by the forms of the labels, since few kernels have both modules.
func TestDoctor_Label_NamesThePolicy(t *testing.T) {
	t.Parallel()
	reading := []string{"reading other processes"}
	for _, c := range []struct {
		label   string
		refused []string
		isOK    bool
		found   string
		do      string
	}{
		{"docker-default (enforce)", reading, false, "the policy of AppArmor for docker-default (enforce) refuses reading other processes", "apparmor=unconfined"},
		{"system_u:system_r:container_t:s0:c12,c45", []string{"BPF", reading[0]}, false, "the policy of SELinux for system_u:system_r:container_t:s0:c12,c45 refuses BPF and reading", "spc_t"},
		{"smack-label", reading, false, "the policy of a security module for smack-label refuses", "policy"},
		{"without-bpf (enforce)", []string{"CAP_BPF"}, false, "the policy of AppArmor for without-bpf (enforce) refuses CAP_BPF", "capability bpf"},
		{"docker-default (enforce)", nil, true, "AppArmor: docker-default (enforce), which permits what is needed", ""},
		{"system_u:system_r:unconfined_service_t:s0", nil, true, "SELinux: ", ""},
		{"unconfined", nil, true, "none", ""},
		{"kernel", nil, true, "none", ""},
		{"", nil, true, "none", ""},
		{"unconfined", []string{"BPF"}, false, "none, and yet BPF is refused: by a user namespace, or", "bpftool"},
	} {
		f := judgeLabel(c.label, c.refused)
		if f.OK != c.isOK || !strings.HasPrefix(f.Found, c.found) || !strings.Contains(f.Do, c.do) || f.OK != (f.Do == "") {
			t.Errorf("%q, refused %q: %+v", c.label, c.refused, f)
		}
	}
}

// TestDoctor_Memlock_CountsBefore511 where it cannot be raised, and where the kernel has refused.
func TestDoctor_Memlock_CountsBefore511(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most               uint64
		isFinal, isRefused bool
		isOK               bool
		found              string
	}{
		{64 << 10, true, true, false, "RLIMIT_MEMLOCK is 64 KiB, and the maps of BPF count against it before Linux 5.11"},
		{64 << 20, true, false, true, "RLIMIT_MEMLOCK is 65536 KiB, which suffices"},
		{64 << 10, false, true, true, "does not limit BPF"}, // refused for another reason
		{math.MaxUint64, false, false, true, "does not limit BPF"},
	} {
		f := judgeMemlock(c.most, c.isFinal, c.isRefused)
		if f.OK != c.isOK || f.Found != c.found || !f.OK && !strings.Contains(f.Do, "LimitMEMLOCK=infinity") {
			t.Errorf("%+v: %+v", c, f)
		}
	}
}

// TestDoctor_Lockdown_IsRead from securityfs, which a mount over it replaces here: a kernel that is locked down stays so.
func TestDoctor_Lockdown_IsRead(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for states, isOK := range map[string]bool{
		"none integrity [confidentiality]\n": false, "none [integrity] confidentiality\n": true, "[none] integrity confidentiality\n": true,
	} {
		file := filepath.Join(t.TempDir(), "lockdown")
		must(t, os.WriteFile(file, []byte(states), 0o444))
		const script = `mount -t tmpfs none /sys/kernel/security && cp "$1" /sys/kernel/security/lockdown && exec "$2" doctor -o json --run-dir /tmp --state-dir /tmp`
		f := foundBy(t, exec.Command("unshare", "--mount", "sh", "-c", script, "sh", file, thisBinary(t)), "lockdown")
		if f.OK != isOK || !isOK && !strings.Contains(f.Do, "lockdown=integrity") {
			t.Errorf("%q: %+v", states, f)
		}
	}
}

// TestDoctor_RootWithout_SaysHowToGive: root in a container lacks what is not given to it.
func TestDoctor_RootWithout_SaysHowToGive(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range append(caps.All(), caps.Lease()) {
		short := strings.TrimPrefix(c.Name, "CAP_")
		cmd := exec.Command("setpriv", "--bounding-set=-sys_admin,-"+strings.ToLower(short), thisBinary(t), "doctor", "-o", "json", "--run-dir", "/tmp", "--state-dir", "/tmp")
		f := foundBy(t, cmd, c.Name)
		if c.IsWithheld() {
			t.Errorf("%s is withheld from this process", c.Name)
		}
		if f.OK || f.IsNote != (c.Name == "CAP_LEASE") || f.Found != c.Impact || !strings.Contains(f.Do, "--cap-add="+short) {
			t.Errorf("without %s: %+v", c.Name, f)
		}
	}
}

// TestDoctor_Refused_NamesWhatToRepair: the kernel says EPERM for a filter and for a capability alike.
func TestDoctor_Refused_NamesWhatToRepair(t *testing.T) {
	t.Parallel()
	needRoot(t)
	cmd := exec.Command("setpriv", "--bounding-set=-bpf,-sys_admin", thisBinary(t), "doctor", "-o", "json", "--run-dir", "/tmp", "--state-dir", "/tmp")
	if f := foundBy(t, cmd, "tracker"); f.OK || !strings.HasPrefix(f.Do, "repair first: CAP_BPF; until then") {
		t.Errorf("without CAP_BPF: %+v", f)
	}
	if f := withFilter(t, "tracker"); f.OK || !strings.HasPrefix(f.Do, "repair first: seccomp; until then") {
		t.Errorf("with a filter: %+v", f)
	}
	if f := withFilter(t, "lsm label"); !f.OK {
		t.Errorf("the filter explains the refusal, and yet: %+v", f)
	}
	if err := error(unix.EPERM); whatToRepair(checkRights(err)) != "repair first: lsm label" {
		t.Errorf("a refusal without a visible cause: %+v", checkRights(err))
	}
}
